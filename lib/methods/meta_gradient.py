"""Meta-gradients: how a loss *after* one gradient step depends on a variable of the loss *before* it.

A network with parameters ``w`` and outputs ``z = f(x; w)`` takes a virtual step on an inner loss that also holds a
variable ``v``; an outer loss, usually on other data, says how good the step was:

    w'(v) = w - lr * d inner(z, v) / dw,        D = d outer(w'(v)) / dv.

``v`` acts on the step only through the gradient for the outputs: with the Jacobian ``J = dz / dw``, the direction
``u = d outer / dw'`` and ``delta(v) = d inner / dz``,

    D = -lr * d/dv <J^T delta(v), u> = -lr * d/dv <delta(v), J u>.

``dz = J u`` is one directional derivative of the network; what remains is a derivative of the inner loss alone. Where the
step's dependence on ``v`` is to pass through the last linear layer only (the shortcut of CCC's released code), ``u`` is zero
elsewhere and ``dz = features @ U^T + u_bias`` needs no pass through the network.

There, a wide layer's step is never formed: with inputs ``h`` and the gradient ``g`` for its outputs on the batch, it is
``-lr * g^T h``, and moves the outputs of other inputs ``h'`` by ``-lr * (h' h^T) g``, a product of two small matrices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _NormBase

from lib.networks import Backbone

__all__ = ["MODES", "TrainingPass", "frozen_statistics", "look_ahead", "output_tangent", "training_pass", "virtual_step"]

MODES = ("full", "head")
# Smaller networks keep the layout of weights, and so the last digits, that their committed numbers were made with.
LARGE = 2**18  # parameters
WIDE = 256  # inputs and outputs of a linear layer


@dataclass(frozen=True)
class TrainingPass:
    """A forward pass on a training batch.

    Attributes:
        features: ``[batch, n_features]`` what the head read.
        logits: ``[batch, classes]``, with their graph.
        wide: input and output of each layer whose step need not be formed, by the name of its weight.
    """

    features: Tensor
    logits: Tensor
    wide: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class OuterStep:
    """The step ``change^T x`` of a linear layer's weight, not multiplied out.

    Attributes:
        x: ``[batch, in]`` what the layer read.
        change: ``[batch, out]``: ``-lr`` times the gradient for what it gave.
    """

    x: Tensor
    change: Tensor

    def moved(self, x: Tensor, output: Tensor) -> Tensor:
        """What the layer gives for ``[items, in]`` after the step, from its ``[items, out]`` output before."""
        return torch.addmm(output, x @ self.x.T, self.change)


def training_pass(backbone: Backbone, x: Tensor, mode: str = "full") -> TrainingPass:
    """Run a backbone on ``[batch, ...]`` inputs, to be differentiated in one of :data:`MODES`."""
    wide = _wide_layers(backbone, len(x)) if mode == "head" and x.device.type == "cpu" else {}
    with _kept(wide) as kept:
        features = backbone.features(x)
    # Whose input and output still are what they were: a layer that ran once, with nothing changed in place since.
    wide = {name: (calls[0][0].detach(), calls[0][1]) for name, calls in kept.items() if _once_and_unchanged(calls)}
    return TrainingPass(features, backbone.head(features), wide=wide)


def virtual_step(backbone: Backbone, forward: TrainingPass, delta: Tensor, lr: float) -> dict[str, Tensor | OuterStep]:
    """The parameters after a plain gradient step, without momentum or decay; the backbone stays as it is.

    Args:
        backbone: the network that made ``forward``; the graph of its logits is kept for the actual step.
        forward: from :func:`training_pass`.
        delta: ``[batch, classes]`` gradient of the inner loss for the logits.
        lr: learning rate of the step.

    Returns:
        Those that learn, by name, without graph; of a wide layer's weight its step.
    """
    parameters = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
    sources = [forward.wide[name][1] if name in forward.wide else p for name, p in parameters.items()]
    steps = torch.autograd.grad(forward.logits, sources, delta, retain_graph=True, materialize_grads=True)
    large = sum(p.numel() for p in parameters.values()) >= LARGE
    moved: dict[str, Tensor | OuterStep] = {}
    for (name, p), step in zip(parameters.items(), steps, strict=True):
        if name in forward.wide:
            moved[name] = OuterStep(forward.wide[name][0], -lr * step)
        elif large:  # laid out as the parameter is: a convolution of one channel takes half the time
            moved[name] = torch.sub(p.detach(), lr * step, out=torch.empty_like(p))
        else:
            moved[name] = p.detach() - lr * step
    return moved


def look_ahead(
    backbone: Backbone,
    forward: TrainingPass,
    parameters: dict[str, Tensor | OuterStep],
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
        parameters = [p for name, p in backbone.named_parameters() if name in leaves]
        return loss.detach(), output_tangent(forward.logits, parameters, direction)


def output_tangent(outputs: Tensor, parameters: Sequence[Tensor], direction: Sequence[Tensor]) -> Tensor:
    """``J u``: how outputs move along a direction of the parameters, from the graph of the pass that made them.

    Backward mode gives ``J^T delta``, which is linear in ``delta``: its derivative for ``delta``, backward once more, is ``J``.

    Args:
        outputs: ``[batch, ...]`` with their graph, which is kept.
        parameters: some that the outputs depend on.
        direction: ``u``, a change of each.
    """
    delta = torch.zeros_like(outputs, requires_grad=True)
    gradients = torch.autograd.grad(outputs, parameters, delta, create_graph=True, allow_unused=True)
    used = [(gradient, u) for gradient, u in zip(gradients, direction, strict=True) if gradient is not None]
    (tangent,) = torch.autograd.grad([gradient for gradient, _ in used], delta, [u for _, u in used])
    return tangent


def _head_tangent(
    backbone: Backbone, forward: TrainingPass, parameters: dict[str, Tensor | OuterStep], x: Tensor, label: Tensor
) -> tuple[Tensor, Tensor]:
    # An identity in place of the head leaves the features.
    trunk = {name: p for name, p in parameters.items() if not name.startswith("head.")}
    steps = {name: trunk.pop(name) for name in forward.wide}
    with torch.no_grad(), _without_head(backbone), _moved(backbone, steps):
        features = functional_call(backbone, trunk, (x,))
    head = [parameters[f"head.{name}"].detach().requires_grad_() for name in ("weight", "bias")]
    loss = F.cross_entropy(F.linear(features, *head), label)
    weight, bias = torch.autograd.grad(loss, head)
    return loss.detach(), F.linear(forward.features.detach(), weight, bias)


def _wide_layers(backbone: Backbone, items: int) -> dict[str, nn.Linear]:
    """The trunk's linear layers, by the name of their weight, whose step costs more to form than to apply."""
    uses = Counter(id(p) for _, p in backbone.named_parameters(remove_duplicate=False))
    layers = {}
    for name, layer in backbone.trunk.named_modules(prefix="trunk"):
        if type(layer) is nn.Linear and layer.weight.requires_grad and uses[id(layer.weight)] == 1:
            size = layer.out_features, layer.in_features
            if min(size) >= WIDE and items * sum(size) < size[0] * size[1]:
                layers[f"{name}.weight"] = layer
    return layers


@contextmanager
def _kept(layers: dict[str, nn.Linear]) -> Iterator[dict[str, list[tuple[Tensor, Tensor, int, int]]]]:
    """What the layers read and gave in each call, with how often either had been changed in place by then."""
    calls: dict[str, list[tuple[Tensor, Tensor, int, int]]] = {name: [] for name in layers}

    def keep(name: str, layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        calls[name].append((inputs[0], output, inputs[0]._version, output._version))

    with _hooked(layers, keep):
        yield calls


def _once_and_unchanged(calls: list[tuple[Tensor, Tensor, int, int]]) -> bool:
    if len(calls) != 1 or calls[0][0].ndim != 2:
        return False
    ((x, output, *versions),) = calls
    return versions == [x._version, output._version]


@contextmanager
def _moved(backbone: Backbone, steps: dict[str, OuterStep]) -> Iterator[None]:
    """Layers that work as after their steps."""

    def move(name: str, layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return steps[name].moved(inputs[0], output)

    with _hooked({name: backbone.get_submodule(name.removesuffix(".weight")) for name in steps}, move):
        yield


@contextmanager
def _hooked(layers: dict[str, nn.Module], hook: Callable) -> Iterator[None]:
    """``hook(name, layer, inputs, output)`` after every call of a layer."""
    with ExitStack() as stack:
        for name, layer in layers.items():
            stack.enter_context(layer.register_forward_hook(partial(hook, name)))
        yield


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
