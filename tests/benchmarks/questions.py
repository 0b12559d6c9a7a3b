"""What is asked: for each question the rows that answer it, in the order of their importance, and the data of each.

A row sets one task of ours beside the same task of a peer, or of a variant of our own, on the same arrays. ``QUESTIONS`` are
about peers and about size; ``OWN`` are our own variants beside each other, which no peer has a part in.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from tests.benchmarks.peers import OURS

Arrays = dict[str, np.ndarray]
CLASSES, PER_ITEM = 10, 5


class NoData(Exception):
    """The data of a row are not there; the message says why."""


@dataclass(frozen=True)
class Case:
    """A row before it is measured."""

    what: str  # what is computed, in a few words
    size: int  # how much of it
    size_unit: str
    task: str  # of our side, with its options
    data: Callable[[], Arrays]  # makes the arrays that both sides get
    options: dict = field(default_factory=dict)
    peer: str = ""  # the other side, one of `peers.PEERS`; "ours" for a variant of our own; "" for none
    peer_title: str = ""  # what a variant of our own is called
    peer_options: dict | None = None  # of the other side; by default the same
    compared: str = "posterior"  # the array that both sides return
    # Largest difference at which the results count as equal: of probabilities and gradients the largest absolute one, of labels
    # ("answers") the share of items, of accuracies points. None where nothing is compared.
    tolerance: float | None = None
    steps: int = 1  # by which the seconds are divided
    limit_seconds: float | None = None  # what ours should stay under
    limit_mb: float | None = None


# ------------------------------------------------------------------ data


def simulated(
    items: int,
    annotators: int,
    classes: int = CLASSES,
    per_item: int = PER_ITEM,
    features: int = 0,
    x_shape: tuple[int, ...] = (),
) -> Arrays:
    """Labels in random order, ``per_item`` different annotators an item, of whom most are right more often than not; features
    around each class's center, or images of noise."""
    random = np.random.default_rng(0)
    truth = random.integers(classes, size=items)
    first = random.integers(annotators, size=(items, 1))
    stride = random.integers(1, annotators // per_item + 1, size=(items, 1))
    annotator = ((first + stride * np.arange(per_item)) % annotators).ravel()
    item = np.repeat(np.arange(items), per_item)
    knows = random.random(len(item)) < random.beta(4, 2, size=annotators)[annotator]
    label = np.where(knows, truth[item], random.integers(classes, size=len(item)))
    order = random.permutation(len(item))
    arrays = {"item": item[order], "annotator": annotator[order], "label": label[order]}
    arrays |= {"n_annotators": np.array(annotators), "n_classes": np.array(classes)}
    if features:
        centers = random.normal(size=(classes, features))
        for part, y in (("", truth), ("_test", random.integers(classes, size=max(items // 4, 20)))):
            arrays |= {f"x{part}": (centers[y] + random.normal(size=(len(y), features))).astype(np.float32), f"y{part}": y}
    if x_shape:
        arrays["x"] = random.normal(size=(items, *x_shape)).astype(np.float32)
    return arrays


def published(name: str) -> Arrays:
    """A data set of the project. Raises NoData where its files are not there."""
    from lib import datasets

    if (why := datasets.missing(name)) is not None:
        raise NoData(why)
    data = datasets.load(name)
    crowd = data.crowd
    arrays = {"item": crowd.item, "annotator": crowd.annotator, "label": crowd.label}
    arrays |= {"n_annotators": np.array(crowd.n_annotators), "n_classes": np.array(crowd.n_classes)}
    return arrays | {part: getattr(data, part).numpy() for part in ("x", "x_test", "y_test")}


def ccc_data(network: str, smoke: bool, widths: tuple[int, ...]) -> Arrays:
    """A batch, two meta batches, groups, and the weights of two networks."""
    import torch

    from tests.benchmarks.side_ours import ccc_network

    shape = (12,) if smoke else (512,)
    if network == "resnet":
        shape = (3, 10, 10) if smoke else (3, 32, 32)
    items, annotators, groups = (6, 9, 3) if smoke else (64 if network == "mlp" else 32, 100, 20)
    data = simulated(items, annotators, 3 if smoke else CLASSES, per_item=3, x_shape=shape)
    random = np.random.default_rng(1)
    torch.manual_seed(0)
    for number in (0, 1):
        data[f"groups{number}"] = random.permutation(np.arange(annotators) % groups)
        data[f"meta_x{number}"] = random.normal(size=(items, *shape)).astype(np.float32)
        data[f"meta_label{number}"] = random.integers(int(data["n_classes"]), size=items)
        network_ = ccc_network(network, shape, int(data["n_classes"]), widths)
        data |= {f"weight{number}_{place}": p.detach().numpy() for place, p in enumerate(network_.parameters())}
    return data | {"n_groups": np.array(groups)}


NOTHING = dict  # a task that makes its own data


# ------------------------------------------------------------------ questions about peers and about size


def aggregation(smoke: bool) -> Iterator[Case]:
    """How long does aggregation take, and how much memory, beside crowd-kit and peerannot? From a table of labels."""
    iterations = 3 if smoke else 10
    tasks = {
        "majority vote": ("majority_vote", {}, 1e-9),
        "Dawid-Skene, 10 iterations": ("dawid_skene", {"iterations": iterations}, 1e-6),
        "GLAD, one iteration": ("glad", {"iterations": 1, "tolerance": 0.0, "m_steps": 25}, None),
        "GLAD, whole": ("glad", {"iterations": 5 if smoke else 100, "tolerance": 1e-5, "m_steps": 25}, None),
        "MACE, 10 iterations": ("mace", {"iterations": iterations}, None),
    }
    for labels in (100,) if smoke else (10_000, 100_000, 1_000_000):
        data = partial(simulated, labels // PER_ITEM, max(labels // 1_000, 12))
        for what, (task, options, tolerance) in tasks.items():
            for peer in ("crowdkit", "peerannot"):
                # peerannot has no MACE, and items x annotators in memory for all but the vote; crowd-kit's GLAD does not end.
                if peer == "peerannot" and (task == "mace" or what == "GLAD, one iteration"):
                    continue
                if labels == 1_000_000 and (what == "GLAD, whole" or (peer == "peerannot" and task != "majority_vote")):
                    continue
                # Without a floor under its counts peerannot's Dawid-Skene is another one; GLAD of crowd-kit tells the posterior
                # before its last M-step, and MACE begins at random: of these only the share of other answers is told.
                same = tolerance is not None and (peer, task) != ("peerannot", "dawid_skene")
                found = {"compared": "posterior", "tolerance": tolerance} if same else {"compared": "answers"}
                yield Case(what, labels, "labels", task, data, options, peer, **found)


def training(smoke: bool) -> Iterator[Case]:
    """How many seconds does a training run take, with the test accuracy after each epoch, beside MaML and crowd-kit?"""
    runs = [("Music", "music", "mlp-norm", 100), ("LabelMe", "labelme", "mlp", 50)]
    if smoke:
        runs = [("simulated", "", "mlp", 2)]
    titles = {
        "crowdlayer-mw": "Crowd Layer",
        "conal": "CoNAL",
        "unionnet-b": "UnionNet-B",
        "trace-reg": "trace regularization",
        "geocrowdnet-f": "GeoCrowdNet(F)",
        "geocrowdnet-w": "GeoCrowdNet(W)",
    }
    for title, name, network, epochs in runs:
        data = partial(simulated, 120, 12, 3, 3, features=5) if smoke else partial(published, name)
        for peer in ("maml", "crowdkit"):
            for method in ("crowdlayer-mw", "conal") if smoke or peer == "crowdkit" else titles:
                options = {"method": method, "network": network, "epochs": epochs, "batch_size": 64}
                # MaML leaves CoNAL's matrices out of its optimizer and sums UnionNet-B's loss over an item's labels.
                differs = peer == "maml" and method in ("conal", "unionnet-b")
                points = {"compared": "accuracy", "tolerance": None if differs or smoke else 2.0}
                yield Case(f"{titles[method]}, {title}", epochs, "epochs", "train", data, options, peer, **points)


def ccc(smoke: bool) -> Iterator[Case]:
    """How long does a step of CCC's two networks take beside the authors'? Head with head, full with full."""
    for network, gradient in (("mlp", "full"), ("resnet", "full"), ("resnet", "head")):
        title, items = ("MLP", 64) if network == "mlp" else ("ResNet", 32)
        widths = [8, 12] if smoke else [64, 128]
        steps = 1 if smoke or network == "resnet" else 20
        data = partial(ccc_data, network, smoke, tuple(widths))
        options = {"network": network, "gradient": gradient, "widths": widths, "rate": 0.5, "lr": 0.01, "steps": steps}
        equal = {"compared": "matrices", "tolerance": 1e-4, "steps": steps}
        yield Case(f"{title}, {gradient} gradient", items, "items", "ccc_step", data, options, "ccc", **equal)


def _steps(methods: dict[str, str], sizes: tuple[int, ...], unit: str, smoke: bool, fixed: int) -> Iterator[Case]:
    steps = 1 if smoke else 10
    for size in sizes:
        annotators, classes = (size, fixed) if unit == "annotators" else (fixed, size)
        items = 8 if smoke else 128
        data = partial(simulated, items, annotators, classes, 3, features=20)
        for method, title in methods.items():
            # The losses after some steps are those of differently drawn weights: nothing to compare.
            options = {"method": method, "network": "linear", "steps": steps}
            yield Case(title, size, unit, "step", data, options, "maml", compared="loss", steps=steps)


def annotators(smoke: bool) -> Iterator[Case]:
    """What does a training step cost as annotators grow, in batches of 128 items with three labels each, of ten classes?"""
    methods = {"crowdlayer-mw": "Crowd Layer", "ccem": "CCEM", "trace-reg": "trace regularization"}
    yield from _steps(methods, (12,) if smoke else (1_000, 3_000, 10_000), "annotators", smoke, 3 if smoke else 10)


def classes(smoke: bool) -> Iterator[Case]:
    """What does a training step cost as classes grow, with 519 annotators and batches of 128 items with three labels each?"""
    methods = {"trace-reg": "trace regularization", "geocrowdnet-w": "GeoCrowdNet(W)"}
    yield from _steps(methods, (3,) if smoke else (100, 30, 10), "classes", smoke, 12 if smoke else 519)


def ten_million(smoke: bool) -> Iterator[Case]:
    """How long does aggregation of 10,000,000 labels take, and how much memory beyond the table? Ours alone."""
    labels = 500 if smoke else 10_000_000
    data = partial(simulated, labels // PER_ITEM, max(labels // 1_000, 12))
    glad = {"iterations": 100, "tolerance": 1e-5, "m_steps": 10}
    yield Case("GLAD", labels, "labels", "glad", data, glad, limit_seconds=60.0, limit_mb=2048.0)
    yield Case("majority vote", labels, "labels", "majority_vote", data)
    yield Case("Dawid-Skene, 10 iterations", labels, "labels", "dawid_skene", data, {"iterations": 10})
    yield Case("MACE, 10 iterations", labels, "labels", "mace", data, {"iterations": 10})


def own_labels(smoke: bool) -> Iterator[Case]:
    """How long does it take to read a file of own labels of 1,000,000 items, and to report on them?"""
    items = 60 if smoke else 1_000_000
    data = partial(simulated, items, max(items // 1_000, 12), per_item=3)
    for part, title in (("read", "read the file"), ("report", "report")):
        yield Case(title, items, "items", "own_data", data, {"part": part}, compared="labels", limit_seconds=15.0)


QUESTIONS: dict[str, Callable[[bool], Iterator[Case]]] = {
    question.__name__: question for question in (training, classes, ccc, annotators, aggregation, own_labels, ten_million)
}


# ------------------------------------------------------------------ our own variants


def own_losses(smoke: bool) -> Iterator[Case]:
    """Our own: a loss with its gradients on triples, beside one-hot labels of all annotators."""
    items, annotators, steps = (4, 12, 1) if smoke else (128, 747, 20)
    data = partial(simulated, items, annotators, 3 if smoke else CLASSES, 3)
    for name, title in (("coupled", "coupled cross-entropy"), ("crowd_layer", "Crowd Layer")):
        options, other = ({"name": form, "steps": steps} for form in (name, f"dense_{name}"))
        beside = {"peer_options": other, "compared": "gradients", "tolerance": 1e-5, "steps": steps}
        yield Case(title, annotators, "annotators", "loss", data, options, OURS, "one-hot labels", **beside)


def own_ccc(smoke: bool) -> Iterator[Case]:
    """Our own: CCC's step, beside differentiating twice, beside the plain form, and full beside head."""
    for network, title in (("mlp", "MLP"), ("conv", "ResNet")):
        steps = 30 if network == "mlp" and not smoke else 1
        common = {"network": network, "steps": steps, "smoke": smoke}
        head, full = ({"name": "tangent_step", "mode": mode} for mode in ("head", "full"))
        for what, ours, other, peer_title, tolerance in (
            (f"CCC, {title}", full, {"name": "double_backward_step", "mode": ""}, "double backward", 1e-4),
            (f"CCC, {title}", full, {"name": "plain_step", "mode": ""}, "plain form", 1e-4),
            (f"CCC, {title}, head", head, full, "full gradient", None),
        ):
            beside = {"peer_options": common | other, "compared": "correction", "tolerance": tolerance, "steps": steps}
            yield Case(what, 64, "items", "ccc_form", NOTHING, common | ours, OURS, peer_title, **beside)


def own_memory(smoke: bool) -> Iterator[Case]:
    """Our own: an epoch of training on a large crowd, and its memory."""
    items, people = (60, 12) if smoke else (100_000, 1_000)
    data = partial(simulated, items, people, per_item=3, features=20)
    for method, title in (("ccem", "CCEM"), ("crowdlayer-mw", "Crowd Layer")):
        yield Case(f"an epoch of {title}", items, "items", "training_epoch", data, {"method": method}, limit_mb=954.0)


OWN: dict[str, Callable[[bool], Iterator[Case]]] = {
    question.__name__: question for question in (own_losses, own_ccc, own_memory)
}
