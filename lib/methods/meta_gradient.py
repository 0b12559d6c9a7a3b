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

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _NormBase

from lib.networks import Backbone

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
        wide: input ``[batch, in]`` and output ``[batch, out]`` of each layer whose step need not be formed, by the name of
            its weight.
    """

    features: Tensor
    logits: Tensor
    wide: dict[str, tuple[Tensor, Tensor]]


def training_pass(backbone: Backbone, x: Tensor, mode: str = "full") -> TrainingPass:
    """Run a backbone on ``[batch, ...]`` inputs, to be differentiated in one of :data:`MODES`."""
    wide = _wide_layers(backbone, len(x)) if mode == "head" and x.device.type == "cpu" else []
    calls = []
    with _hooked(backbone, wide, lambda name, h, y: calls.append((name, h, y, h._version, y._version))):
        features = backbone.features(x)
    # Only layers that ran once, on vectors, with nothing changed in place since.
    times = Counter(name for name, *_ in calls)
    kept = {
        name: (h.detach(), y)
        for name, h, y, *versions in calls
        if times[name] == 1 and h.ndim == 2 and versions == [h._version, y._version]
    }
    return TrainingPass(features, backbone.head(features), kept)


def virtual_step(backbone: Backbone, forward: TrainingPass, delta: Tensor, lr: float) -> dict[str, Tensor]:
    """The parameters that learn, by name, after a plain gradient step, without momentum or decay: no graph. For a wide layer's
    weight it is the change ``-lr * g`` ``[batch, out]``.

    ``delta`` ``[batch, classes]`` is the gradient of the inner loss for the logits of ``forward``, whose graph is kept for the
    actual step; the backbone stays as it is.
    """
    parameters = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
    sources = [forward.wide[name][1] if name in forward.wide else p for name, p in parameters.items()]
    steps = torch.autograd.grad(forward.logits, sources, delta, retain_graph=True, materialize_grads=True)
    large = sum(p.numel() for p in parameters.values()) >= LARGE
    moved = {}
    for (name, p), step in zip(parameters.items(), steps, strict=True):
        if name in forward.wide:
            moved[name] = -lr * step
        elif large:  # laid out as the parameter is: a convolution of one channel takes half the time
            moved[name] = torch.sub(p.detach(), lr * step, out=torch.empty_like(p))
        else:
            moved[name] = p.detach() - lr * step
    return moved


def look_ahead(
    backbone: Backbone,
    forward: TrainingPass,
    moved: dict[str, Tensor],
    x: Tensor,
    label: Tensor,
    mode: str = "full",
) -> tuple[Tensor, Tensor]:
    """The cross-entropy after a virtual step, and how the logits before it move along that loss's gradient.

    Args:
        backbone, forward, moved: of :func:`virtual_step`. Batch normalization works in the backbone's present mode, and its
            running statistics stay as they are.
        x, label: ``[meta items, ...]`` inputs and ``[meta items]`` int64 classes.
        mode: of :data:`MODES`: ``full``, through all parameters; ``head``, as if only the last layer's step depended on ``v``.

    Returns:
        The outer loss in nats, and ``dz = J u``, ``[batch, classes]``.
    """
    if mode == "full":
        leaves = {name: p.detach().requires_grad_() for name, p in moved.items()}
        with frozen_statistics(backbone):
            loss = F.cross_entropy(functional_call(backbone, leaves, (x,)), label)
        direction = torch.autograd.grad(loss, tuple(leaves.values()), materialize_grads=True)
        parameters = [p for name, p in backbone.named_parameters() if name in leaves]
        return loss.detach(), output_tangent(forward.logits, parameters, direction)

    read = []

    def move(name: str, h: Tensor, y: Tensor) -> Tensor | None:
        """What a layer gives after its step; what the head reads is kept."""
        if name in forward.wide:
            return torch.addmm(y, h @ forward.wide[name][0].T, moved[name])
        read.append(h)
        return None

    formed = {name: p for name, p in moved.items() if name not in forward.wide}
    with torch.no_grad(), frozen_statistics(backbone), _hooked(backbone, [*forward.wide, "head.weight"], move):
        functional_call(backbone, formed, (x,))
    head = [moved[f"head.{name}"].detach().requires_grad_() for name in ("weight", "bias")]
    loss = F.cross_entropy(F.linear(read[0], *head), label)
    return loss.detach(), F.linear(forward.features.detach(), *torch.autograd.grad(loss, head))


def output_tangent(outputs: Tensor, parameters: Sequence[Tensor], direction: Sequence[Tensor]) -> Tensor:
    """``J u``: how outputs move along a direction ``u`` of the parameters, from the graph of the pass that made them, which
    is kept.

    Backward mode gives ``J^T delta``, which is linear in ``delta``: its derivative for ``delta``, backward once more, is ``J``.
    """
    delta = torch.zeros_like(outputs, requires_grad=True)
    gradients = torch.autograd.grad(outputs, parameters, delta, create_graph=True, allow_unused=True)
    used = [(gradient, u) for gradient, u in zip(gradients, direction, strict=True) if gradient is not None]
    (tangent,) = torch.autograd.grad([gradient for gradient, _ in used], delta, [u for _, u in used])
    return tangent


def _wide_layers(backbone: Backbone, items: int) -> list[str]:
    """The weights of the trunk's linear layers whose step costs more to form than to apply."""
    uses = Counter(id(p) for _, p in backbone.named_parameters(remove_duplicate=False))
    layers = []
    for name, layer in backbone.trunk.named_modules(prefix="trunk"):
        if type(layer) is nn.Linear and layer.weight.requires_grad and uses[id(layer.weight)] == 1:
            size = layer.out_features, layer.in_features
            if min(size) >= WIDE and items * sum(size) < size[0] * size[1]:
                layers.append(f"{name}.weight")
    return layers


@contextmanager
def _hooked(backbone: Backbone, weights: Iterable[str], hook: Callable[[str, Tensor, Tensor], Tensor | None]) -> Iterator[None]:
    """``hook(weight, input, output)`` after every call of the layers with these weights; it may return another output."""
    with ExitStack() as stack:
        for weight in weights:
            layer = backbone.get_submodule(weight.removesuffix(".weight"))
            stack.enter_context(layer.register_forward_hook(lambda _, h, y, weight=weight: hook(weight, h[0], y)))
        yield


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
