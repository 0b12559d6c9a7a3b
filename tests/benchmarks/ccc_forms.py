"""Forms of CCC's meta step: ours, differentiating all of it twice, and the step as one first writes it.

All forms take the same step of one network (virtual step, meta-gradient, correction, gradients of the corrected loss) and
agree in the correction:

- ours: one forward pass for the virtual and the actual step, the meta-gradient by how the logits move;
- double backward: ours in all but the meta-gradient, which goes back through the graph of the virtual gradient;
- plain form: double backward with a copy of the network for each virtual step, a pass of its own for the actual one, and
  one-hot labels of all annotators.

``head`` is ours with the shortcut through the last linear layer, whose correction is another one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from lib.datasets.batches import Batch
from lib.methods import meta_gradient
from lib.methods.ccc import EPSILON, CrowdDerivatives, crowd_loss
from lib.networks import Backbone, build

LR, RATE = 0.01, 0.5


@dataclass(frozen=True)
class Problem:
    """One network before a step.

    Attributes:
        network: in training mode.
        matrices: ``[annotators, classes, classes]`` parameter.
        groups: ``[annotators]``.
        batch: training items with their labels.
        x, label: the meta batch.
    """

    network: Backbone
    matrices: nn.Parameter
    groups: Tensor
    batch: Batch
    x: Tensor
    label: Tensor

    def loss(self, class_logits: Tensor, correction: Tensor) -> Tensor:
        labels = (self.batch.position, self.batch.annotator, self.batch.label)
        return crowd_loss(class_logits, self.matrices + correction[self.groups], *labels)

    def no_correction(self) -> Tensor:
        return self.matrices.new_zeros(int(self.groups.max()) + 1, *self.matrices.shape[1:])


def repeat(form: Callable[[Problem], Tensor], problem: Problem, steps: int) -> Tensor:
    """Some steps from the same random state; the correction of the last."""
    for _ in range(steps):
        torch.manual_seed(1)
        problem.network.zero_grad()
        problem.matrices.grad = None
        correction = form(problem)
    return correction


# ------------------------------------------------------------------ the forms of a step


def tangent_step(problem: Problem, mode: str = "full") -> Tensor:
    """As :class:`lib.methods.ccc.CCC` does it; leaves gradients in the parameters and returns the correction."""
    network, matrices, batch = problem.network, problem.matrices, problem.batch
    forward = meta_gradient.training_pass(network, batch.x, mode)
    inner = CrowdDerivatives(forward.logits, matrices, batch)
    moved = meta_gradient.virtual_step(network, forward, inner.class_logits, LR)
    _, tangent = meta_gradient.look_ahead(network, forward, moved, problem.x, problem.label, mode)
    gradient = -LR * inner.mixed(tangent, problem.groups, len(problem.no_correction()))
    correction = _normalized(gradient, matrices - LR * inner.matrices)
    actual = CrowdDerivatives(forward.logits, matrices + correction[problem.groups], batch)
    forward.logits.backward(actual.class_logits)
    matrices.grad = actual.matrices
    return correction


def double_backward_step(problem: Problem) -> Tensor:
    """The same with the graph of the virtual gradient, which is differentiated again."""
    network, matrices = problem.network, problem.matrices
    correction = problem.no_correction().requires_grad_()
    class_logits = network(problem.batch.x)
    names, parameters = zip(*network.named_parameters(), strict=True)
    loss = problem.loss(class_logits, correction)
    matrix_step, *steps = torch.autograd.grad(loss, (matrices, *parameters), create_graph=True)
    moved = {name: p - LR * step for name, p, step in zip(names, parameters, steps, strict=True)}
    with meta_gradient.frozen_statistics(network):
        outer = F.cross_entropy(functional_call(network, moved, (problem.x,)), problem.label)
    (gradient,) = torch.autograd.grad(outer, correction, retain_graph=True)
    correction = _normalized(gradient, matrices - LR * matrix_step)
    problem.loss(class_logits, correction).backward()
    return correction


def plain_step(problem: Problem) -> Tensor:
    """The step as the paper's algorithm reads, with a copy of the network and dense labels."""
    network, matrices, batch = problem.network, problem.matrices, problem.batch
    shape = (len(batch.x), len(matrices), matrices.shape[1])
    one_hot = matrices.new_zeros(shape)
    one_hot[batch.position, batch.annotator, batch.label] = 1

    def loss(class_logits: Tensor, matrices: Tensor) -> Tensor:
        logits = torch.einsum("bj,rjk->brk", torch.softmax(class_logits, dim=1), matrices)
        return -(one_hot * (torch.softmax(logits, dim=2) + EPSILON).log()).sum() / one_hot.sum()

    twin, twin_matrices = copy.deepcopy(network), matrices.detach().clone().requires_grad_()
    correction = problem.no_correction().requires_grad_()
    names, parameters = zip(*twin.named_parameters(), strict=True)
    virtual = loss(twin(batch.x), twin_matrices + correction[problem.groups])
    matrix_step, *steps = torch.autograd.grad(virtual, (twin_matrices, *parameters), create_graph=True)
    moved = {name: p - LR * step for name, p, step in zip(names, parameters, steps, strict=True)}
    outer = F.cross_entropy(functional_call(twin, moved, (problem.x,)), problem.label)
    (gradient,) = torch.autograd.grad(outer, correction)
    correction = _normalized(gradient, twin_matrices - LR * matrix_step)
    loss(network(batch.x), matrices + correction[problem.groups]).backward()
    return correction


def _normalized(gradient: Tensor, matrices: Tensor) -> Tensor:
    return (-RATE * matrices.max() / gradient.abs().max() * gradient).detach()


# ------------------------------------------------------------------ networks and labels


def make_problem(kind: str, smoke: bool = False, dtype: torch.dtype = torch.float32) -> Problem:
    """A network with random weights, images or features and labels.

    Args:
        kind: ``mlp``, the LabelMe network and sizes; or ``conv``, a residual network on 32 x 32 images.
        smoke: tiny sizes.
    """
    torch.manual_seed(0)
    if kind == "mlp":
        annotators, classes, items, meta_items = (6, 3, 8, 6) if smoke else (59, 8, 64, 80)
        shape = (5,) if smoke else (512,)
        network = build("mlp", shape, classes)
    else:
        annotators, classes, items, meta_items = (6, 3, 4, 4) if smoke else (100, 10, 64, 64)
        shape = (3, 8, 8) if smoke else (3, 32, 32)
        network = residual_network(classes, (4, 8) if smoke else (16, 32, 64))
    position = torch.arange(items).repeat_interleave(3)
    annotator = torch.stack([torch.randperm(annotators)[:3] for _ in range(items)]).flatten()
    label = torch.randint(classes, (3 * items,))
    batch = Batch(torch.randn(items, *shape, dtype=dtype), torch.arange(items), position, annotator, label)
    groups = torch.arange(annotators) % max(annotators // 6, 2)
    matrices = nn.Parameter(torch.eye(classes, dtype=dtype).repeat(annotators, 1, 1))
    x, meta_label = torch.randn(meta_items, *shape, dtype=dtype), torch.randint(classes, (meta_items,))
    return Problem(network.to(dtype), matrices, groups, batch, x, meta_label)


def residual_network(n_classes: int, widths: tuple[int, ...]) -> Backbone:
    """Two residual blocks of batch-normalized convolutions a width, halving the image in between."""
    before = widths[0]
    parts: list[nn.Module] = [*_convolution(3, before), nn.ReLU()]
    for width in widths:
        parts += [_Block(before, width, 1 if width == widths[0] else 2), _Block(width, width, 1)]
        before = width
    return Backbone(nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten()), before, n_classes)


class _Block(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(*_convolution(before, width, stride), nn.ReLU(), *_convolution(width, width))
        same = before == width and stride == 1
        self.skip = nn.Identity() if same else nn.Sequential(*_convolution(before, width, stride, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.main(x) + self.skip(x))


def _convolution(before: int, width: int, stride: int = 1, size: int = 3) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(before, width, size, stride, padding=size // 2, bias=False), nn.BatchNorm2d(width)
