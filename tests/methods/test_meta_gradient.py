"""Meta-gradients against differentiating the whole step twice, for networks of every kind, and what a look ahead leaves."""

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from lib import networks
from lib.methods import meta_gradient
from lib.networks import Backbone
from lib.networks.resnet import residual

LR = 0.1
IMAGE, VECTOR = (3, 8, 8), (6,)


class InPlace(nn.Module):
    """A residual block that changes what it was given, and a view of it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        y = self.first(x)
        y += x  # changes an output that was recorded
        y = self.second(F.relu_(y))
        y[:, 0].mul_(2)
        return F.relu(y, inplace=True)


class Reused(nn.Module):
    """One weight in two places, and a parameter that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.unused = nn.Parameter(torch.randn(6, 6)), nn.Parameter(torch.randn(2))

    def forward(self, x):
        return torch.tanh(x @ self.weight) @ self.weight.T


def affine() -> Backbone:
    """Batch normalization with scale and shift; one of them without the scale's gradient."""
    norms = [nn.BatchNorm1d(8), nn.BatchNorm1d(8)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias)
    norms[1].weight.requires_grad_(False)
    trunk = nn.Sequential(nn.Linear(6, 8), norms[0], nn.ELU(), nn.Linear(8, 8, bias=False), norms[1], nn.GELU())
    return Backbone(trunk, 8, 3)


class Twice(nn.Module):
    """One layer that runs twice, one that is changed in place, one whose weight has a second name."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.in_place, self.tied = (nn.Linear(256, 256) for _ in range(3))
        self.also = nn.Linear(256, 256)
        self.also.weight = self.tied.weight

    def forward(self, x):
        return self.also(self.tied(F.relu_(self.in_place(self.twice(self.twice(x))))))


def wide(*more: nn.Module) -> Backbone:
    """Layers whose step is not multiplied out."""
    layers = [nn.Linear(6, 300), nn.Tanh(), nn.Linear(300, 260), nn.BatchNorm1d(260), nn.ReLU(), nn.Linear(260, 256)]
    return Backbone(nn.Sequential(*layers, *more), 256, 3)


NETWORKS = {
    "wide": (VECTOR, wide),
    "not so wide": (VECTOR, lambda: wide(Twice())),
    "linear": (VECTOR, lambda: networks.build("linear", VECTOR, 3)),
    "dropout": (VECTOR, lambda: networks.build("mlp", VECTOR, 3, width=16)),
    "norm and dropout": (VECTOR, lambda: networks.build("mlp-norm", VECTOR, 3, width=16)),
    "affine norm": (VECTOR, affine),
    "tied and unused": (VECTOR, lambda: Backbone(nn.Sequential(Reused(), nn.LayerNorm(6), nn.AlphaDropout(0.3)), 6, 3)),
    "residual": (IMAGE, lambda: residual(IMAGE, 3, (4, 6), (2, 2))),
    "pooling": (
        IMAGE,
        lambda: Backbone(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Dropout2d(0.3), nn.Sigmoid(), nn.Flatten()), 36, 3
        ),
    ),
    "in place": (IMAGE, lambda: Backbone(nn.Sequential(InPlace(), nn.Flatten()), 192, 3)),
}


def problem(name: str):
    """A backbone in training mode, a batch, a meta batch with classes, in float64."""
    shape, make = NETWORKS[name]
    torch.manual_seed(3)
    backbone = make().double().train()
    x, x_meta = torch.randn(7, *shape, dtype=torch.float64), torch.randn(5, *shape, dtype=torch.float64)
    return backbone, x, x_meta, torch.tensor([0, 1, 2, 0, 1])


def inner(class_logits, variable):
    """A loss with a matrix in it."""
    target = torch.arange(len(class_logits)) % 3
    return F.cross_entropy(torch.softmax(class_logits.to(variable.dtype), dim=1) @ variable, target)


def by_tangent(backbone, x, x_meta, label, mode):
    variable = torch.eye(3, dtype=x.dtype, requires_grad=True)
    torch.manual_seed(0)
    forward = meta_gradient.training_pass(backbone, x, mode)
    class_logits = forward.logits.detach().requires_grad_()
    (delta,) = torch.autograd.grad(inner(class_logits, variable), class_logits, create_graph=True)
    moved = meta_gradient.virtual_step(backbone, forward, delta.detach(), LR)
    loss, tangent = meta_gradient.look_ahead(backbone, forward, moved, x_meta, label, mode)
    (gradient,) = torch.autograd.grad((delta * tangent).sum(), variable)
    return loss, -LR * gradient


def double_backward(backbone, x, x_meta, label, through):
    variable = torch.eye(3, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(0)
    loss = inner(backbone(x), variable)
    names, parameters = zip(*((n, p) for n, p in backbone.named_parameters() if p.requires_grad), strict=True)
    steps = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
    steps = [step if through(name) else step.detach() for name, step in zip(names, steps, strict=True)]
    moved = {name: p - LR * step for name, p, step in zip(names, parameters, steps, strict=True)}
    outer = F.cross_entropy(functional_call(backbone, moved, (x_meta,)), label)
    return outer.detach(), torch.autograd.grad(outer, variable)[0]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("mode", meta_gradient.MODES)
def test_gradient_equals_double_backward(name, training, mode):
    """Through everything, or through the head alone."""
    backbone, *rest = problem(name)
    backbone(rest[0])  # so that the running statistics differ from their start
    setting = (backbone.train(training), *rest)
    loss, gradient = by_tangent(*setting, mode)
    expected_loss, expected = double_backward(*setting, through=lambda name: mode == "full" or name.startswith("head."))
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-12)
    assert expected.abs().max() > 1e-7
    assert (gradient - expected).abs().max() < 1e-8 * expected.abs().max()


def test_looking_ahead_leaves_no_trace():
    backbone, x, x_meta, label = problem("norm and dropout")
    forward = meta_gradient.training_pass(backbone, x)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    moved = meta_gradient.virtual_step(backbone, forward, torch.ones_like(forward.logits), LR)
    meta_gradient.look_ahead(backbone, forward, moved, x_meta, label)
    meta_gradient.look_ahead(backbone, forward, moved, x_meta, label, "head")
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert all(p.grad is None for p in backbone.parameters())
    assert all(part.track_running_stats for part in backbone.modules() if isinstance(part, nn.BatchNorm1d))
    forward.logits.sum().backward()  # the actual step can still be made
    assert backbone.head.weight.grad.abs().max() > 0


def test_only_the_training_pass_and_the_meta_batch_draw_dropout_masks():
    backbone, x, x_meta, label = problem("dropout")
    torch.manual_seed(0)
    forward = meta_gradient.training_pass(backbone, x)
    moved = meta_gradient.virtual_step(backbone, forward, torch.ones_like(forward.logits), LR)
    meta_gradient.look_ahead(backbone, forward, moved, x_meta, label)
    after = torch.rand(3)
    torch.manual_seed(0)
    backbone(x)
    backbone(x_meta)
    assert torch.equal(after, torch.rand(3))


def test_steps_that_are_not_multiplied_out():
    forward = meta_gradient.training_pass(*problem("wide")[:2], "head")
    assert sorted(forward.wide) == ["trunk.2.weight", "trunk.5.weight"]
    forward = meta_gradient.training_pass(*problem("not so wide")[:2], "head")
    assert sorted(forward.wide) == ["trunk.2.weight", "trunk.5.weight"]
    assert meta_gradient.training_pass(*problem("wide")[:2], "full").wide == {}
    backbone, *_ = problem("wide")
    many = torch.randn(400, 6, dtype=torch.float64)  # where the products of inputs are larger than the weights
    assert meta_gradient.training_pass(backbone, many, "head").wide == {}


def test_virtual_step_keeps_the_layout_of_weights():
    backbone = Backbone(nn.Sequential(nn.Conv2d(1, 16, 5), nn.Flatten(), nn.Linear(16 * 16, 1024)), 1024, 3)
    backbone.to(memory_format=torch.channels_last)
    forward = meta_gradient.training_pass(backbone, torch.randn(4, 1, 8, 8), "head")
    moved = meta_gradient.virtual_step(backbone, forward, torch.ones(4, 3), LR)
    assert moved["trunk.0.weight"].stride() == backbone.trunk[0].weight.stride() != (25, 25, 5, 1)
