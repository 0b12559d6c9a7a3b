"""KD-Crowd: equal to its base without guidance, the guided loss, and what each stage may see and hands on."""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib import networks
from lib.aggregation import held_out_labels
from lib.aggregation.confusion import confusion_error
from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import TrainingData
from lib.losses.distillation import Distillation
from lib.methods import kd_crowd
from lib.methods.kd_crowd import ELR_WEIGHTS, HELD_OUT, WEIGHTS, Stage, Student, guided_loss
from lib.training.loop import fit
from lib.training.recipe import Recipe
from tests import worked_example
from tests.worked_example import batch_of, build, put, random_example, scramble, small_dataset

RECIPE = Recipe(epochs=3, batch_size=16, lr=0.01)
DATA = small_dataset()
ON_CPU = TrainingData(DATA, torch.device("cpu"))
BASES = ["ccem", "conal", "crowdlayer-mw", "dl-em", "doctornet", "geocrowdnet-f", "majority-vote", "max-mig", "trace-reg",
         "unionnet-b", "weighted-doctornet"]  # fmt: skip


def make(name, data=DATA, **options):
    return worked_example.make(name, data, **options)


def train(name, recipe=RECIPE, **options):
    method = make(name, **options)
    return method, fit(method, DATA, recipe).history


def predictions(n_items, n_classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(1.5 * torch.randn(n_items, n_classes, generator=generator, dtype=torch.float64), dim=1).numpy()


def guided(base, crowd, weight=0.7):
    """In stage 2 with given predictions of stage 1, without training anything."""
    method = build("kd-crowd", crowd, base=base, weight=weight)
    method.guide = Distillation(torch.from_numpy(predictions(6, 4)))
    method.final.loss = functools.partial(guided_loss, method.final, method.final.loss, method.guide, weight)
    return method


# ------------------------------------------------------------------ without guidance it is its base


@pytest.mark.parametrize("base", BASES)
def test_weight_zero_is_the_base(base):
    alone, history = train(base)
    wrapped, same = train("kd-crowd", base=base, weight=0.0)
    assert history == same
    for name, value in alone.state_dict().items():
        assert torch.equal(value, wrapped.final.state_dict()[name]), name
    assert torch.equal(alone.eval().predict_proba(DATA.x), wrapped.eval().predict_proba(DATA.x))
    assert (alone.confusion() is None) == (wrapped.confusion() is None)
    assert wrapped.stages == {}
    assert wrapped.scores(DATA) == alone.scores(DATA)


def test_the_final_model_starts_as_its_base_would():
    alone, wrapped = make("crowdlayer-mw"), make("kd-crowd")
    _, _, teacher, (student,) = wrapped._first
    for name, value in alone.state_dict().items():
        assert torch.equal(value, wrapped.final.state_dict()[name]), name
    heads = [method.backbone.head.weight for method in (wrapped.final, teacher, student)]
    assert len({tuple(head.flatten().tolist()) for head in heads}) == 3  # three networks, none from another's weights
    assert {id(p) for p in wrapped.parameters()} == {id(p) for p in wrapped.final.parameters()}  # which alone learns in stage 2


# ------------------------------------------------------------------ the guided loss


@pytest.mark.parametrize("base", ["conal", "doctornet"])  # one predicts by its backbone, the other does not
def test_guided_loss_is_the_sum_of_both(base):
    example = random_example()
    alone, method = scramble(build(base, example.crowd)), guided(base, example.crowd)
    method.final.load_state_dict(alone.state_dict())
    distillation = method.guide(alone.predict_proba(example.batch.x).log(), example.batch.items)
    assert_close(method.loss(example.batch), alone.loss(example.batch) + 0.7 * distillation)


@pytest.mark.parametrize(("base", "passes"), [("ccem", 1), ("conal", 1), ("doctornet", 0)])
def test_one_pass_and_one_dropout_mask(base, passes):
    """The guidance sees the very predictions that the base's own loss sees."""
    example = random_example()
    method = guided(base, example.crowd)
    seen = []
    method.final.backbone.head.register_forward_hook(lambda module, inputs, output: seen.append(output))
    method.loss(example.batch)
    assert len(seen) == passes
    assert len(method.final.backbone.head._forward_hooks) == 1  # none of ours stays behind


def test_no_guidance_of_the_matrices():
    example = random_example()
    plain, method = build("ccem", example.crowd), guided("ccem", example.crowd, weight=5.0)
    for trained in (plain, method):
        trained.loss(example.batch).backward()
    assert torch.equal(plain.confusion_logits.grad, method.final.confusion_logits.grad)
    assert not torch.allclose(plain.backbone.head.weight.grad, method.backbone.head.weight.grad)


# ------------------------------------------------------------------ the stages


class Recorder:
    """Stands where training would, and keeps what it was called with."""

    def __init__(self, epochs=1):
        self.calls, self.epochs = [], epochs

    def __call__(self, method, data=None):
        self.calls.append((method, data))
        for epoch in range(self.epochs):
            method.begin_epoch(epoch, data)
            method.end_epoch(epoch, data)
        return {"loss": [0.0] * self.epochs}


def test_held_out_labels_stay_out_of_the_first_stages():
    method = make("kd-crowd", base="weighted-doctornet")
    visible, hidden, teacher, (student,) = method._first
    recorder = Recorder()
    method.prepare(ON_CPU, recorder)
    # The teacher's own first stage, the teacher, the student, and the final model's first stage, which sees all labels.
    assert [call[0] for call in recorder.calls] == [teacher.first, teacher, student, method.final.first]
    assert [call[1].crowd if call[1] else None for call in recorder.calls] == [visible, visible, DATA.crowd, None]
    assert len(hidden) == round(HELD_OUT * len(DATA.crowd))
    assert len(visible) + len(hidden) == len(DATA.crowd)
    assert visible.labels_per_item.min() >= 1
    assert_close(teacher.target.double(), torch.from_numpy(visible.counts / visible.counts.sum(axis=1, keepdims=True)),
                 atol=1e-6, rtol=0)  # fmt: skip
    assert method.final.target.double().numpy() == pytest.approx(DATA.crowd.counts / 3, abs=1e-6)


def make_student(data, learner="elr", prob=None, **options):
    torch.manual_seed(0)
    student = Student(functools.partial(networks.build, "mlp", (4,), 3), data.crowd, learner, **options)
    prob = predictions(90, 3) if prob is None else prob
    student.guide = kd_crowd.guide(prob, TrainingData(data, torch.device("cpu")), "mig", "kl")
    return student


def test_the_student_never_sees_a_label():
    """Other labels with the same items labeled: the same student, to the last bit."""
    trained = []
    for crowd in (DATA.crowd, CrowdLabels(DATA.crowd.item, DATA.crowd.annotator, 2 - DATA.crowd.label, 90, 3, 3)):
        data = replace(DATA, crowd=crowd)
        student = make_student(data)
        fit(student, data, RECIPE)
        trained.append(student.backbone.head.weight)
    assert torch.equal(*trained)


def test_epoch_by_held_out_labels(monkeypatch):
    """Every epoch of the student is offered, and the best one kept; of the teacher the last one."""
    method = make("kd-crowd", base="ccem")
    first, offers = method._first, {}
    original = kd_crowd.as_numpy

    def watched(function, x, trained):
        offers.setdefault(trained, []).append(original(function, x, trained))
        return offers[trained][-1]

    monkeypatch.setattr(kd_crowd, "as_numpy", watched)
    fit(method, DATA, RECIPE)
    assert [len(offers[trained]) for trained in (first.teacher, first.students[0])] == [1, 3]
    scores = [
        [held_out_labels.score(held_out_labels.soften(prob, t), first.visible, first.hidden)
         for t in held_out_labels.TEMPERATURES]
        for prob in offers[first.students[0]]
    ]  # fmt: skip
    teacher, student = method.stages["teacher"], method.stages["student"]
    assert (teacher.epoch, student.epoch) == (2, int(np.argmax(np.max(scores, axis=1))))
    assert student.score == pytest.approx(np.max(scores))
    assert student.temperature == held_out_labels.TEMPERATURES[np.argmax(scores[student.epoch])]
    assert (len(teacher.history["test_acc"]), len(student.history["loss"])) == (3, 3)
    assert_close(method.guide.teacher.double(), torch.from_numpy(student.prob), atol=1e-6, rtol=0)
    assert method._first is None


@pytest.mark.parametrize(("learner", "expected"), [("none", 1), ("early-stopping", 2)])
def test_last_epoch_without_a_robust_learner(learner, expected, monkeypatch):
    offered = []
    offer = held_out_labels.Choice.offer
    monkeypatch.setattr(
        held_out_labels.Choice, "offer", lambda self, epoch, prob: offered.append(epoch) or offer(self, epoch, prob)
    )
    train("kd-crowd", robust=learner, recipe=replace(RECIPE, epochs=2))
    assert len(offered) - 1 == expected  # the teacher offers its last epoch only


def test_final_model_starts_at_the_implied_matrices():
    start = {}
    for warm in (None, False):
        method = make("kd-crowd", base="ccem", warm_confusion=warm)
        before = method.confusion()
        method.prepare(ON_CPU, Recorder(2))
        start[warm] = method.confusion()
    assert torch.equal(start[False], before)
    implied = np.maximum(held_out_labels.fit_confusion(method.stages["student"].prob, DATA.crowd), 1e-3)
    assert_close(start[None].double(), torch.from_numpy(implied / implied.sum(axis=2, keepdims=True)), atol=1e-5, rtol=0)
    alone = make("kd-crowd", base="ccem", weight=0.0, warm_confusion=True)  # without guidance
    alone.prepare(ON_CPU, Recorder(2))
    assert torch.equal(alone.confusion(), start[None])
    assert alone.guide is None


def test_distillation_of_each_stage():
    """The student's loss alone decides the student; the final one's never reaches back."""
    students = {}
    for name, options in {
        "mig": {},
        "final kl": {"final_distillation": "kl"},
        "kl": {"distillation": "kl"},
        "student kl": {"student_distillation": "kl"},
    }.items():
        method, _ = train("kd-crowd", base="ccem", **options)
        students[name] = method.stages["student"].prob
        assert method.guide.loss == ("kl" if name in ("kl", "final kl") else "mig")
    assert np.array_equal(students["mig"], students["final kl"])
    assert np.array_equal(students["kl"], students["student kl"])
    assert not np.array_equal(students["mig"], students["kl"])


# ------------------------------------------------------------------ the student's learners


@pytest.mark.parametrize("learner", ["elr", "co-teaching"])
def test_student_corrects_a_teacher_that_is_wrong_at_random(learner):
    """A third of a doubtful teacher's classes are drawn at random; the early student is nearly always right, under the
    teacher's names for the classes."""
    random = np.random.default_rng(0)
    data, order = small_dataset(items=240), np.array([2, 0, 1])
    y = data.y.numpy()
    said = np.where(random.random(240) < 0.4, random.integers(0, 3, 240), y)
    student = make_student(data, learner, prob=np.where(np.eye(3)[said] > 0, 0.6, 0.2)[:, order])
    student.noise = 0.3
    fit(student, data, replace(RECIPE, epochs=10))
    right = order[student.eval().predict_proba(data.x).argmax(dim=1).numpy()] == y
    assert (said == y).mean() < 0.8 < 0.97 < right.mean()


def test_elr_student_slowly():
    student = make_student(DATA, elr_weight=2.0).eval()
    target = predictions(90, 3, seed=5)
    put(student.early.target, torch.from_numpy(target).float())
    batch = batch_of(DATA.crowd, DATA.x, items=[3, 50, 7])
    p = student.predict_proba(batch.x).detach().double().numpy()
    penalty = np.mean([math.log(1 - p[row] @ target[item]) for row, item in enumerate((3, 50, 7))])
    plain = student.guide(torch.from_numpy(np.log(p)), batch.items).item()
    assert student.loss(batch).item() == pytest.approx(plain + 2 * penalty, abs=1e-5)


def test_co_teaching_student_slowly():
    prob = predictions(90, 3)
    student = make_student(DATA, "co-teaching", prob=prob).eval()
    student.noise = 0.5
    batch = batch_of(DATA.crowd, DATA.x, items=range(10))
    views = [torch.log_softmax(network(batch.x), dim=1) for network in (student.backbone, student.other)]
    evidence = [(view.detach().exp().numpy() * prob[:10] / student.guide.prior.numpy()).sum(axis=1) for view in views]
    for epoch, kept in ((0, 10), (5, 8), (10, 5)):
        student.begin_epoch(epoch, None)
        # Each learns from the items that the other finds easiest.
        easy = [np.sort(np.argsort(-e)[:kept]) for e in evidence]
        parts = [student.guide(views[0][easy[1]], batch.items[easy[1]]), student.guide(views[1][easy[0]], batch.items[easy[0]])]
        assert_close(student.loss(batch), sum(parts))
    student.loss(batch).backward()
    assert student.other.head.weight.grad.any()
    assert torch.equal(student.predict_proba(batch.x), torch.softmax(student.backbone(batch.x), dim=1))


def test_co_teachings_noise_is_the_teachers_doubt():
    method = make("kd-crowd", robust="co-teaching", elr_weight=None)
    (student,) = method._first.students  # one: only early-learning regularization has a weight
    method.prepare(ON_CPU, Recorder())
    assert student.noise == pytest.approx(1 - method.stages["teacher"].prob.max(axis=1).mean())


# ------------------------------------------------------------------ weights by held-out labels


def test_weight_of_stage_2_by_held_out_labels():
    """Each weight is tried without the hidden labels, and the one that explains them best is used with all of them."""
    method = make("kd-crowd", base="ccem", weight=None)
    visible, crowds, weights = method._first.visible, [], []
    original = method._switch_roles

    def switch_roles(final, data, weight):
        original(final, data, weight)
        crowds.append(data.crowd)
        weights.append((weight, final.loss.args[3]))

    method._switch_roles = switch_roles
    fit(method, DATA, RECIPE)
    assert crowds[:3] == [visible] * 3
    assert crowds[3] is DATA.crowd
    scores = method.scores(DATA)
    tried = [scores[f"final_held_out_{weight:g}"] for weight in WEIGHTS]
    assert len(set(tried)) == 3
    best = WEIGHTS[np.argmax(tried)]
    assert scores["weight"] == best
    assert weights == [(weight, weight) for weight in (*WEIGHTS, best)]


def test_a_weight_is_scored_by_how_well_hidden_labels_are_explained():
    """Guided by the truth the final model explains them better than guided by chance, whatever the weight."""
    data = small_dataset(accuracies=(0.6, 0.6, 0.6))
    method = make("kd-crowd", data, base="ccem", weight=None, warm_confusion=False)
    truth = np.where(np.eye(3)[data.y.numpy()] > 0, 0.98, 0.01)

    def fit_first(other, data):
        return fit(other, replace(data.dataset, crowd=data.crowd), replace(RECIPE, epochs=10)).history

    found = []
    for prob in (truth, np.random.default_rng(0).permutation(truth)):
        method.stages = {"student": Stage(prob, 1.0, 0, 0.0, {})}
        found.append(method._compare_weights(TrainingData(data, torch.device("cpu")), fit_first))
    assert all(found[0][weight] > found[1][weight] + 0.05 for weight in WEIGHTS)


def test_weight_of_early_learning_by_held_out_labels():
    method, _ = train("kd-crowd", base="ccem", elr_weight=None)
    scores = method.scores(DATA)
    tried = [scores[f"student_held_out_elr_{weight:g}"] for weight in ELR_WEIGHTS]
    assert scores["student_held_out"] == method.stages["student"].score == max(tried)
    assert len(set(tried)) == 3


# ------------------------------------------------------------------ scores, and edges


def test_scores_by_hand():
    y = torch.tensor([0, 1, 1, 0])
    crowd = CrowdLabels([0, 1, 2], [0, 0, 1], [0, 1, 0], 4, 2, 2)  # nobody labeled item 3
    data = replace(small_dataset(items=4), x=torch.zeros(4, 2), crowd=crowd, y=y, x_test=None, y_test=None,
                   class_names=("a", "b"))  # fmt: skip
    history = {"loss": [1.0, 1.0, 1.0], "test_acc": [0.5, 0.75, 0.25]}
    teacher = Stage(np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.1, 0.9]]), 1.0, 2, math.nan, {"loss": [0.0]})
    student = Stage(np.array([[0.6, 0.4], [0.7, 0.3], [0.3, 0.7], [0.1, 0.9]]), 1.5, 1, -0.25, history)
    method = make("kd-crowd", data)
    method.stages = {"teacher": teacher, "student": student}
    scores = method.scores(data)
    known = data.crowd.true_confusion(y.numpy())
    errors = [confusion_error(held_out_labels.fit_confusion(stage.prob, crowd), known) for stage in (teacher, student)]
    assert scores == pytest.approx({
        "teacher_epoch": 2, "teacher_temperature": 1, "teacher_train_acc": 2 / 3, "teacher_confusion_error": errors[0],
        "student_epoch": 1, "student_temperature": 1.5, "student_train_acc": 2 / 3, "student_confusion_error": errors[1],
        "student_held_out": -0.25, "student_test_acc_last": 0.25, "student_test_acc_best": 0.75,
        "student_test_acc_used": 0.75, "errors_fixed": 1.0, "correct_broken": 0.5,
    })  # fmt: skip
    assert "teacher_train_acc" not in method.scores(replace(data, y=None))
    method.stages["teacher"] = replace(teacher, prob=np.array([[1.0, 0], [0, 1], [0, 1], [1, 0]]))  # with nothing to fix
    assert "errors_fixed" not in method.scores(data)


def test_one_label_an_item():
    data = replace(DATA, crowd=DATA.crowd.select_labels(DATA.crowd.annotator == DATA.crowd.item % 3))
    method = make("kd-crowd", data)
    assert np.count_nonzero(method._first.visible.labels_per_item) == 90 - round(HELD_OUT * 90)
    assert np.isfinite(fit(method, data, RECIPE).history["loss"]).all()
