"""Meta-gradients: how a loss *after* one gradient step depends on a variable of the loss *before* it.

A network with parameters ``w`` and outputs ``z = f(x; w)`` takes a virtual step on an inner loss that also holds a
variable ``v``; an outer loss, usually on other data, says how good the step was:

    w'(v) = w - lr * d inner(z, v) / dw,        D = d outer(w'(v)) / dv.

The textbook way to ``D`` keeps the graph of the virtual step and differentiates twice through the network. But ``v`` acts
on the step only through the gradient for the outputs: with the Jacobian ``J = dz / dw``, the direction
``u = d outer / dw'`` and ``delta(v) = d inner / dz``,

    D = -lr * d/dv <J^T delta(v), u> = -lr * d/dv <delta(v), J u>.

``dz = J u`` is one directional derivative of the network, in forward mode (:mod:`lib.methods.tangents`); what remains is a
derivative of the inner loss alone. The numbers are the same, no graph of a gradient is kept, and no convolution is
differentiated twice. Where the step's dependence on ``v`` is to pass through the last linear layer only (the shortcut of
CCC's released code), ``u`` is zero elsewhere and ``dz = features @ U^T + u_bias`` needs no pass through the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _NormBase

from lib.methods import tangents
from lib.networks import Backbone

__all__ = ["MODES", "TrainingPass", "frozen_statistics", "look_ahead", "training_pass", "virtual_step"]

MODES = ("full", "head")


@dataclass(frozen=True)
class TrainingPass:
    """A forward pass on a training batch.

    Attributes:
        features: ``[batch, n_features]`` what the head read.
        logits: ``[batch, classes]``, with their graph.
        tape: what forward mode takes up again; None where only the head's step will be looked at.
    """

    features: Tensor
    logits: Tensor
    tape: tangents.Tape | None


def training_pass(backbone: Backbone, x: Tensor, mode: str = "full") -> TrainingPass:
    """Run a backbone on ``[batch, ...]`` inputs, to be differentiated in one of :data:`MODES`."""
    with tangents.record(x) if mode == "full" else nullcontext() as tape:
        features = backbone.features(x)
        return TrainingPass(features, backbone.head(features), tape)


def virtual_step(backbone: Backbone, forward: TrainingPass, delta: Tensor, lr: float) -> dict[str, Tensor]:
    """The parameters after a plain gradient step, without momentum or decay; the backbone stays as it is.

    Args:
        backbone: the network that made ``forward``; the graph of its logits is kept for the actual step.
        forward: from :func:`training_pass`.
        delta: ``[batch, classes]`` gradient of the inner loss for the logits.
        lr: learning rate of the step.

    Returns:
        Those that learn, by name, without graph.
    """
    parameters = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
    steps = torch.autograd.grad(forward.logits, tuple(parameters.values()), delta, retain_graph=True, materialize_grads=True)
    return {name: p.detach() - lr * step for (name, p), step in zip(parameters.items(), steps, strict=True)}


def look_ahead(
    backbone: Backbone,
    forward: TrainingPass,
    parameters: dict[str, Tensor],
    x: Tensor,
    label: Tensor,
    mode: str = "full",
) -> tuple[Tensor, Tensor]:
    """The cross-entropy after a virtual step, and how the logits before it move along that loss's gradient.

    Args:
        backbone, forward: as in :func:`virtual_step`. Batch normalization works in the backbone's present mode, and its
            running statistics stay as they are.
        parameters: after the step.
        x: ``[meta items, ...]``.
        label: ``[meta items]`` int64 classes.
        mode: ``full``, through all parameters; or ``head``, as if only the last linear layer's step depended on ``v``.

    Returns:
        The outer loss in nats, and ``dz = J u``, ``[batch, classes]``.

    Raises:
        ValueError: another mode.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, found {mode!r}")
    with frozen_statistics(backbone):
        if mode == "head":
            return _head_tangent(backbone, forward, parameters, x, label)
        leaves = {name: p.detach().requires_grad_() for name, p in parameters.items()}
        loss = F.cross_entropy(functional_call(backbone, leaves, (x,)), label)
        direction = torch.autograd.grad(loss, tuple(leaves.values()), materialize_grads=True)
        tangent = tangents.output_tangent(backbone, forward.tape, dict(zip(leaves, direction, strict=True)))
        return loss.detach(), tangent


def _head_tangent(
    backbone: Backbone, forward: TrainingPass, parameters: dict[str, Tensor], x: Tensor, label: Tensor
) -> tuple[Tensor, Tensor]:
    # An identity in place of the head leaves the features.
    trunk = {name: p for name, p in parameters.items() if not name.startswith("head.")}
    with torch.no_grad(), _without_head(backbone):
        features = functional_call(backbone, trunk, (x,))
    head = [parameters[f"head.{name}"].detach().requires_grad_() for name in ("weight", "bias")]
    loss = F.cross_entropy(F.linear(features, *head), label)
    weight, bias = torch.autograd.grad(loss, head)
    return loss.detach(), F.linear(forward.features.detach(), weight, bias)


@contextmanager
def _without_head(backbone: Backbone) -> Iterator[None]:
    head, backbone.head = backbone.head, nn.Identity()
    try:
        yield
    finally:
        backbone.head = head


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Batch normalization that, in training mode, uses the batch and leaves its running statistics alone."""
    # In evaluation mode the running statistics are what normalizes, and nothing updates them.
    tracking = [p for p in module.modules() if isinstance(p, _NormBase) and p.track_running_stats and p.training]
    for part in tracking:
        part.track_running_stats = False
    try:
        yield
    finally:
        for part in tracking:
            part.track_running_stats = True
