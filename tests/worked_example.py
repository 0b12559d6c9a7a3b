"""The four items whose losses are known to ten digits, a small random crowd, how to look at a method's loss on them, and data
to train on."""

from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from lib import methods, networks
from lib.crowd.labels import CrowdLabels, CrowdRatings
from lib.crowd.triples import Triples
from lib.datasets.batches import Batch, TrainingData
from lib.datasets.kinds import CrowdData, CrowdDataset, RatingDataset
from lib.methods.base import Method
from lib.networks import Backbone

# ------------------------------------------------------------------ four items, three annotators, three classes

LOGITS = torch.tensor([[np.sin(1 + 3 * i + j) for j in range(3)] for i in range(4)], dtype=torch.float64)
TRIPLES = [(0, 0, 0), (0, 1, 1), (1, 0, 2), (1, 2, 2), (2, 1, 0), (2, 2, 1), (3, 0, 1), (3, 1, 1), (3, 2, 0)]
CROWD = CrowdLabels(*np.array(TRIPLES).T, 4, 3, 3)
MATRICES = torch.tensor(
    [[[(j == k) + 0.1 * np.cos(r + 2 * j + 3 * k) for k in range(3)] for j in range(3)] for r in range(3)],
    dtype=torch.float64,
)


# ------------------------------------------------------------------ six items of four classes; annotator 2 gave no label


def random_example() -> SimpleNamespace:
    """``crowd`` (items have one to four labels), class ``logits`` ``[6, 4]`` and the ``batch`` of all items."""
    random = np.random.default_rng(5)
    given = random.random((6, 5)) < 0.6
    given[np.arange(6), random.choice([0, 1, 3, 4], size=6)] = True
    given[:, 2] = False
    crowd = CrowdLabels.from_dense(np.where(given, random.integers(0, 4, size=(6, 5)), -1), n_classes=4)
    logits = torch.from_numpy(2 * random.normal(size=(6, 4)))
    return SimpleNamespace(crowd=crowd, logits=logits, batch=batch_of(crowd, logits))


def batch_of(crowd: Triples, x: Tensor, items=None) -> Batch:
    """Some items as a batch, in the given order, by default all; ratings are as precise as ``x``."""
    items = np.arange(crowd.n_items) if items is None else np.asarray(items)
    part = crowd.select_items(items)
    position, annotator, said = (torch.tensor(column) for column in (part.item, part.annotator, part.said))
    said = said.to(x.dtype) if said.is_floating_point() else said
    return Batch(x[torch.from_numpy(items)], torch.from_numpy(items), position, annotator, said)


def surprise(prob: Callable[[int, int, int], float], crowd: CrowdLabels) -> float:
    """Mean surprise at the labels, one at a time, of a probability for each item, annotator and label."""
    labels = zip(crowd.item, crowd.annotator, crowd.label, strict=True)
    return float(np.mean([-np.log(prob(*label)) for label in labels]))


# ------------------------------------------------------------------ methods


@contextmanager
def in_float64():
    """What is built meanwhile is so."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def pass_through(width: int, n_classes: int | None = None) -> Callable[[], Backbone]:
    """A backbone without hidden layer; its logits are its inputs where there are as many as classes."""

    def make() -> Backbone:
        backbone = Backbone(nn.Flatten(), width, n_classes or width)
        backbone.x_shape = (width,)
        nn.init.eye_(backbone.head.weight)
        nn.init.zeros_(backbone.head.bias)
        return backbone

    return make


def build(name: str, crowd: CrowdLabels, width: int | None = None, seed: int = 0, **options) -> Method:
    """A method in float64 on a backbone that passes its inputs on."""
    with in_float64(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return methods.build(name, pass_through(width or crowd.n_classes, crowd.n_classes), crowd, **options)


def make(name: str, data: CrowdData, network: str = "mlp", seed: int = 0, sizes: dict | None = None, **options) -> Method:
    """A method in float32 for some data, on a network of its own; the global generator is left alone."""
    shape = tuple(data.x.shape[1:])
    backbone = partial(networks.build, network, shape, data.n_outputs, normalize=data.normalize, **(sizes or {}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return methods.build(name, backbone, data.crowd, truth=data.y, **options)


def put(parameter: Tensor, value: Tensor) -> None:
    """Set a parameter, of exactly that shape."""
    assert parameter.shape == value.shape
    with torch.no_grad():
        parameter.copy_(value)


def scramble(method: Method, seed: int = 1, size: float = 0.5) -> Method:
    """Random numbers on top of all parameters, so that no symmetry of the start hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in method.parameters():
        put(parameter, parameter + size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return method


class _Loss(nn.Module):
    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch) -> Tensor:
        return self.method.loss(batch)


def check_gradients(method: Method, batch: Batch) -> None:
    """The loss's gradient for every parameter that learns against differences."""
    wrapped = _Loss(method)
    learning = {name: value for name, value in wrapped.named_parameters() if value.requires_grad}

    def loss(*values: Tensor) -> Tensor:
        return torch.func.functional_call(wrapped, dict(zip(learning, values, strict=True)), (batch,))

    assert torch.autograd.gradcheck(loss, [value.detach().clone().requires_grad_() for value in learning.values()])


# ------------------------------------------------------------------ data sets to train on

# Sizes of toys, of which no other axis has the number of annotators; one of them says nothing.
ITEMS, ANNOTATORS, WIDTH, SILENT = 40, 7, 5, 2


def small_dataset(items: int = 90, accuracies: tuple[float, ...] = (0.95, 0.2, 0.7), seed: int = 0) -> CrowdDataset:
    """Three well separated classes in four dimensions; every annotator labels every item, right as often as given."""
    random = np.random.default_rng(seed)
    y = np.arange(items) % 3
    wrong = (y[:, None] + random.integers(1, 3, size=(items, len(accuracies)))) % 3
    labels = np.where(random.random(wrong.shape) < np.array(accuracies), y[:, None], wrong)
    x = torch.from_numpy(2 * np.eye(4)[y] + 0.5 * random.normal(size=(items, 4))).float()
    crowd, truth = CrowdLabels.from_dense(labels, n_classes=3), torch.from_numpy(y)
    return CrowdDataset("small", "Small", x, crowd, truth, x, truth, class_names=("a", "b", "c"))


def toy_ratings(unlabeled: int = 0) -> RatingDataset:
    """Features that tell the number, ratings with biases, none by annotator SILENT; and as many more items unrated."""
    random = np.random.default_rng(0)
    x = random.normal(size=(ITEMS, WIDTH))
    y = 3 + x @ np.array([1.0, -0.5, 0.3, 0.0, 0.2])
    bias = np.array([0.0, 1.5, 9.0, -1.0, 0.5, 0.0, -0.8])
    values = y[:, None] + bias + 0.2 * random.normal(size=(ITEMS, ANNOTATORS))
    hidden = random.random(values.shape) < 0.5
    hidden[np.arange(ITEMS), random.choice([0, 1, 3, 4, 5, 6], size=ITEMS)] = False
    hidden[:, SILENT] = True
    values = np.concatenate([np.where(hidden, np.nan, values), np.full((unlabeled, ANNOTATORS), np.nan)])
    x = torch.from_numpy(np.concatenate([x, np.ones((unlabeled, WIDTH))])).float()
    y = torch.from_numpy(np.concatenate([y, np.zeros(unlabeled)])).float()
    return RatingDataset("toy", "Toy", x, CrowdRatings.from_dense(values), y, x[:ITEMS].clone(), y[:ITEMS].clone())


def held(crowd: CrowdLabels, x: Tensor) -> TrainingData:
    """Items and their labels as a method is given them between epochs; ``x`` in its own precision."""
    names = tuple(map(str, range(crowd.n_classes)))
    data = TrainingData(CrowdDataset("toy", "Toy", x.float(), crowd, None, None, None, class_names=names), torch.device("cpu"))
    data.x = x
    return data
