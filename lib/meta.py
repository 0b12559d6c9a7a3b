"""Meta-gradients: how a loss *after* one gradient step depends on a variable of the loss *before* it.

A network with parameters ``w`` and outputs ``z = f(x; w)`` takes a virtual step on an inner loss that also holds a
variable ``v``; an outer loss, usually on other data, says how good the step was:

    w'(v) = w - lr * d inner(z, v) / dw,        D = d outer(w'(v)) / dv.

The textbook way to ``D`` keeps the graph of the virtual step and differentiates twice through the network. But ``v`` acts
on the step only through the gradient for the outputs: with the Jacobian ``J = dz / dw``, the direction
``u = d outer / dw'`` and ``delta(v) = d inner / dz``,

    D = -lr * d/dv <J^T delta(v), u> = -lr * d/dv <delta(v), J u>.

``dz = J u`` is one directional derivative of the network, in forward mode; what remains is a derivative of the inner loss
alone. The numbers are the same, no graph of a gradient is kept, and no convolution is differentiated twice. Where the
step's dependence on ``v`` is to pass through the last linear layer only (the shortcut of CCC's released code), ``u`` is
zero elsewhere and ``dz = features @ U^T + u_bias`` needs no pass through the network at all.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _NormBase

from lib.backbones import Backbone

__all__ = ["MODES", "TrainingPass", "Virtual", "frozen_statistics", "meta_gradient", "training_pass", "virtual_step"]

MODES = ("full", "head")


@dataclass(frozen=True)
class TrainingPass:
    """A forward pass on a training batch, with what it takes to run the very same pass again.

    Attributes:
        x: ``[batch, ...]`` inputs.
        features: ``[batch, n_features]`` what the head read.
        logits: ``[batch, classes]``, with their graph.
        random_state: of the device's generator before the pass, so that a repetition draws the same dropout masks.
    """

    x: Tensor
    features: Tensor
    logits: Tensor
    random_state: Tensor


@dataclass(frozen=True)
class Virtual:
    """What a virtual step leaves.

    Attributes:
        loss: scalar, the inner loss before the step.
        parameters: of the backbone after the step, by name.
        gradients: of the inner loss for the extra tensors that were asked for.
        delta: ``[batch, classes]`` gradient for the logits, with its graph to ``variable``.
        variable: the leaf that the inner loss was given.
        lr: the step's learning rate.
    """

    loss: Tensor
    parameters: dict[str, Tensor]
    gradients: tuple[Tensor, ...]
    delta: Tensor
    variable: Tensor
    lr: float


def training_pass(backbone: Backbone, x: Tensor) -> TrainingPass:
    """Run a backbone on a batch so that the pass can be repeated."""
    state = _random_state(x.device)
    features = backbone.features(x)
    return TrainingPass(x, features, backbone.head(features), state)


def virtual_step(
    backbone: Backbone,
    forward: TrainingPass,
    inner: Callable[[Tensor, Tensor], Tensor],
    variable: Tensor,
    lr: float,
    extra: tuple[Tensor, ...] = (),
) -> Virtual:
    """A plain gradient step of the backbone that changes nothing: no momentum, no decay.

    Args:
        backbone: the network that made ``forward``; the graph of its logits is kept for the actual step.
        forward: from :func:`training_pass`.
        inner: ``(logits [batch, classes], variable) -> scalar``, twice differentiable.
        variable: where the inner loss is taken.
        lr: learning rate of the step.
        extra: further tensors of the inner loss whose gradients are wanted.
    """
    logits = forward.logits.detach().requires_grad_()
    variable = variable.detach().requires_grad_()
    loss = inner(logits, variable)
    delta, *gradients = torch.autograd.grad(loss, (logits, *extra), create_graph=True)
    parameters = _trainable(backbone)
    steps = torch.autograd.grad(
        forward.logits, tuple(parameters.values()), delta.detach(), retain_graph=True, materialize_grads=True
    )
    moved = {name: p.detach() - lr * step for (name, p), step in zip(parameters.items(), steps, strict=True)}
    return Virtual(loss.detach(), moved, tuple(g.detach() for g in gradients), delta, variable, lr)


def meta_gradient(
    backbone: Backbone,
    forward: TrainingPass,
    virtual: Virtual,
    x: Tensor,
    label: Tensor,
    mode: str = "full",
) -> tuple[Tensor, Tensor]:
    """The gradient of the cross-entropy after a virtual step for the variable of the inner loss.

    Args:
        backbone, forward, virtual: of one :func:`virtual_step`. Batch normalization works in the backbone's present mode
            and its running statistics stay as they are.
        x: ``[meta items, ...]``.
        label: ``[meta items]`` int64 classes.
        mode: ``full``, through all parameters; or ``head``, as if only the last linear layer's step depended on it.

    Returns:
        The outer loss, in nats, and the gradient, of the variable's shape.

    Raises:
        ValueError: another mode.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, found {mode!r}")
    with frozen_statistics(backbone):
        if mode == "full":
            loss, direction = _outer_gradient(backbone, virtual.parameters, x, label)
            tangent = _output_tangent(backbone, forward, direction)
        else:
            loss, tangent = _head_tangent(backbone, forward, virtual.parameters, x, label)
    (gradient,) = torch.autograd.grad((virtual.delta * tangent).sum(), virtual.variable, materialize_grads=True)
    return loss, -virtual.lr * gradient


def _outer_gradient(
    backbone: Backbone, parameters: dict[str, Tensor], x: Tensor, label: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    leaves = {name: p.requires_grad_() for name, p in parameters.items()}
    loss = F.cross_entropy(functional_call(backbone, leaves, (x,)), label)
    gradients = torch.autograd.grad(loss, tuple(leaves.values()), materialize_grads=True)
    return loss.detach(), dict(zip(leaves, gradients, strict=True))


def _output_tangent(backbone: Backbone, forward: TrainingPass, direction: dict[str, Tensor]) -> Tensor:
    """``J u``: how the logits of the training pass change as its parameters move along ``direction``."""
    _load_forward_mode()
    parameters = {name: p.detach() for name, p in _trainable(backbone).items()}

    def logits(parameters: dict[str, Tensor]) -> Tensor:
        return functional_call(backbone, parameters, (forward.x,))

    with _replayed(forward.x.device, forward.random_state):
        return jvp(logits, (parameters,), (direction,))[1]


def _head_tangent(
    backbone: Backbone, forward: TrainingPass, parameters: dict[str, Tensor], x: Tensor, label: Tensor
) -> tuple[Tensor, Tensor]:
    trunk = {name: p for name, p in parameters.items() if not name.startswith("head.")}
    with torch.no_grad():
        features = functional_call(_Features(backbone), {f"backbone.{name}": p for name, p in trunk.items()}, (x,))
    head = {name: parameters[f"head.{name}"].requires_grad_() for name in ("weight", "bias")}
    loss = F.cross_entropy(F.linear(features, **head), label)
    weight, bias = torch.autograd.grad(loss, tuple(head.values()))
    return loss.detach(), F.linear(forward.features.detach(), weight, bias)


class _Features(nn.Module):
    """A backbone without its head, for :func:`torch.func.functional_call`."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        return self.backbone.features(x)


def _trainable(backbone: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in backbone.named_parameters() if p.requires_grad}


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Batch normalization that, in training mode, uses the batch and leaves its running statistics alone."""
    tracking = [part for part in module.modules() if isinstance(part, _NormBase) and part.track_running_stats]
    # In evaluation mode the running statistics are what normalizes, and nothing updates them.
    tracking = [part for part in tracking if part.training]
    for part in tracking:
        part.track_running_stats = False
    try:
        yield
    finally:
        for part in tracking:
            part.track_running_stats = True


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


@contextmanager
def _replayed(device: torch.device, state: Tensor) -> Iterator[None]:
    """The device's generator as it was at ``state``; afterwards it goes on where it had been."""
    now = _random_state(device)
    _set_random_state(device, state)
    try:
        yield
    finally:
        _set_random_state(device, now)


@functools.cache
def _load_forward_mode() -> None:
    # The first use of forward mode makes torch load formulas that warn of their own deprecated compiler.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        jvp(torch.sin, (torch.zeros(()),), (torch.zeros(()),))
