"""Forms of CCC's meta step: ours, differentiating all of it twice, and the step as one first writes it.

All forms take the same step of one network (virtual step, meta-gradient, correction, gradients of the corrected loss) and
agree in the correction:

- ours: one forward pass for the virtual and the actual step, the meta-gradient by how the logits move;
- double backward: ours in all but the meta-gradient, which goes back through the graph of the virtual gradient;
- plain form: double backward with a copy of the network for each virtual step, a pass of its own for the actual one, and
  one-hot labels of all annotators.

``head`` is ours with the shortcut through the last linear layer, whose correction is another one.
"""

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
from lib.networks.resnet import residual

LR, RATE = 0.01, 0.5


@dataclass(frozen=True)
class Problem:
    """One network before a step."""

    network: Backbone  # in training mode
    matrices: nn.Parameter  # [annotators, classes, classes]
    groups: Tensor  # [annotators]
    batch: Batch  # training items with their labels
    x: Tensor  # the meta batch
    label: Tensor

    def loss(self, class_logits: Tensor, matrices: Tensor) -> Tensor:
        return crowd_loss(class_logits, matrices, self.batch.position, self.batch.annotator, self.batch.label)


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
    gradient = -LR * inner.mixed(tangent, problem.groups, int(problem.groups.max()) + 1)
    correction = _normalized(gradient, matrices - LR * inner.matrices)
    actual = CrowdDerivatives(forward.logits, matrices + correction[problem.groups], batch)
    forward.logits.backward(actual.class_logits)
    matrices.grad = actual.matrices
    return correction


def double_backward_step(problem: Problem) -> Tensor:
    """The same with the graph of the virtual gradient, which is differentiated again."""
    class_logits, correction = _differentiated_twice(problem, problem.network, problem.matrices, problem.loss)
    problem.loss(class_logits, problem.matrices + correction[problem.groups]).backward()
    return correction


def plain_step(problem: Problem) -> Tensor:
    """The step as the paper's algorithm reads, with a copy of the network and dense labels."""
    network, matrices, batch = problem.network, problem.matrices, problem.batch
    one_hot = matrices.new_zeros(len(batch.x), len(matrices), matrices.shape[1])
    one_hot[batch.position, batch.annotator, batch.label] = 1

    def loss(class_logits: Tensor, matrices: Tensor) -> Tensor:
        logits = torch.einsum("bj,rjk->brk", torch.softmax(class_logits, dim=1), matrices)
        return -(one_hot * (torch.softmax(logits, dim=2) + EPSILON).log()).sum() / one_hot.sum()

    twins = copy.deepcopy(network), matrices.detach().clone().requires_grad_()
    _, correction = _differentiated_twice(problem, *twins, loss)
    loss(network(batch.x), matrices + correction[problem.groups]).backward()
    return correction


def _differentiated_twice(problem: Problem, network: Backbone, matrices: Tensor, loss: Callable) -> tuple[Tensor, Tensor]:
    """The class logits of the batch, and the correction."""
    correction = matrices.new_zeros(int(problem.groups.max()) + 1, *matrices.shape[1:]).requires_grad_()
    class_logits = network(problem.batch.x)
    names, parameters = zip(*network.named_parameters(), strict=True)
    virtual = loss(class_logits, matrices + correction[problem.groups])
    matrix_step, *steps = torch.autograd.grad(virtual, (matrices, *parameters), create_graph=True)
    moved = {name: p - LR * step for name, p, step in zip(names, parameters, steps, strict=True)}
    with meta_gradient.frozen_statistics(network):
        outer = F.cross_entropy(functional_call(network, moved, (problem.x,)), problem.label)
    (gradient,) = torch.autograd.grad(outer, correction, retain_graph=True)
    return class_logits, _normalized(gradient, matrices - LR * matrix_step)


def _normalized(gradient: Tensor, matrices: Tensor) -> Tensor:
    return (-RATE * matrices.max() / gradient.abs().max() * gradient).detach()


def make_problem(kind: str, smoke: bool = False, dtype: torch.dtype = torch.float32) -> Problem:
    """Random weights, inputs and labels for ``mlp``, the LabelMe network and sizes, or ``conv``, a residual network on 32 x 32
    images; tiny ones for ``smoke``."""
    torch.manual_seed(0)
    if kind == "mlp":
        annotators, classes, items, meta_items = (6, 3, 8, 6) if smoke else (59, 8, 64, 80)
        shape = (5,) if smoke else (512,)
        network = build("mlp", shape, classes)
    else:
        annotators, classes, items, meta_items = (6, 3, 4, 4) if smoke else (100, 10, 64, 64)
        shape, widths = ((3, 8, 8), (4, 8)) if smoke else ((3, 32, 32), (16, 32, 64))
        network = residual(shape, classes, widths, [2] * len(widths))
    position = torch.arange(items).repeat_interleave(3)
    annotator = torch.stack([torch.randperm(annotators)[:3] for _ in range(items)]).flatten()
    label = torch.randint(classes, (3 * items,))
    batch = Batch(torch.randn(items, *shape, dtype=dtype), torch.arange(items), position, annotator, label)
    groups = torch.arange(annotators) % max(annotators // 6, 2)
    matrices = nn.Parameter(torch.eye(classes, dtype=dtype).repeat(annotators, 1, 1))
    x, meta_label = torch.randn(meta_items, *shape, dtype=dtype), torch.randint(classes, (meta_items,))
    return Problem(network.to(dtype), matrices, groups, batch, x, meta_label)
