"""How a network's outputs change as its parameters move: forward mode that does not run the network anew.

Torch's forward mode computes a network's outputs once more beside their derivative, and takes batch normalization and
dropout apart into many small operations. Here the outputs of convolutions and linear layers are taken from a first,
recorded pass, and

- a linear map ``y = W x + b`` moves by ``dW x + db + W dx``;
- batch normalization in training mode has a symmetric Jacobian in each channel, so that its directional derivative is its
  own backward pass, which is one fused operation;
- dropout multiplies by the mask that it drew.

Everything else is left to torch. The numbers are those of ``torch.func.jvp``, to rounding.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

__all__ = ["Recorder", "Tape", "output_tangent", "record"]

_LINEAR_MAPS = (F.linear, torch.conv1d, torch.conv2d, torch.conv3d)


@dataclass(frozen=True)
class Tape:
    """What a recorded pass leaves.

    Attributes:
        x: ``[batch, ...]`` inputs.
        outputs: of each linear map in turn: the map, its output, and how often that had been changed in place.
        random_state: of the device's generator before the pass, so that the same dropout masks can be drawn again.
    """

    x: Tensor
    outputs: list[tuple[object, Tensor, int]]
    random_state: Tensor


class Recorder(TorchFunctionMode):
    """Keeps the outputs of the linear maps that are called inside its ``with``."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[tuple[object, Tensor, int]] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func in _LINEAR_MAPS:
            self.outputs.append((func, output.detach(), output._version))
        return output


@contextmanager
def record(x: Tensor) -> Iterator[Tape]:
    """Record the pass on ``x`` that runs inside the ``with``; gives the tape."""
    recorder = Recorder()
    tape = Tape(x, recorder.outputs, _random_state(x.device))
    with recorder:
        yield tape


def output_tangent(network: nn.Module, tape: Tape, direction: dict[str, Tensor]) -> Tensor:
    """The derivative of ``network(x)`` along a direction of its parameters, as they are.

    Args:
        network: in the mode of the recorded pass. Its buffers must not change in a pass (see
            :func:`lib.methods.meta_gradient.frozen_statistics`).
        tape: of a recorded pass of the network, whose parameters have not changed since.
        direction: a change of each parameter, by name; those left out stay.

    Returns:
        ``[batch, ...]``, as the outputs.

    Raises:
        RuntimeError: the network takes another way than in the recorded pass.
    """
    _load_forward_mode()
    parameters = dict(network.named_parameters())
    with torch.no_grad(), forward_ad.dual_level(), _replayed(tape.x.device, tape.random_state):
        moving = {name: forward_ad.make_dual(parameters[name].detach(), change) for name, change in direction.items()}
        with _Tangents(tape.outputs):
            value, tangent = forward_ad.unpack_dual(functional_call(network, moving, (tape.x,)))
        return torch.zeros_like(value) if tangent is None else tangent


class _Tangents(TorchFunctionMode):
    """Forward mode with the rules above; torch's own for all else."""

    def __init__(self, outputs: list[tuple[object, Tensor, int]]) -> None:
        super().__init__()
        self.outputs = iter(outputs)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in _LINEAR_MAPS:
            return self._linear_map(func, *args, **kwargs)
        if func is F.batch_norm:
            return _batch_norm(*args, **kwargs)
        if func is F.dropout:
            return _dropout(*args, **kwargs)
        return func(*args, **kwargs)

    def _linear_map(self, func, input: Tensor, weight: Tensor, bias: Tensor | None = None, *rest, **kwargs) -> Tensor:
        recorded, output, version = next(self.outputs, (None, None, 0))
        if recorded is not func:
            raise RuntimeError("the network must take the same way as in the recorded pass, found another layer")
        (x, dx), (w, dw), (b, db) = _parts(input), _parts(weight), _parts(bias)
        if dw is None and db is not None:  # a frozen weight beside a moving bias
            return func(input, weight, bias, *rest, **kwargs)
        if output._version != version:  # changed in place later in that pass
            output = func(x, w, b, *rest, **kwargs)
        tangent = None
        if dw is not None:
            tangent = func(x, dw, db, *rest, **kwargs)
        if dx is not None:
            through = func(dx, w, None, *rest, **kwargs)
            tangent = through if tangent is None else tangent.add_(through)
        return output if tangent is None else forward_ad.make_dual(output, tangent)


def _batch_norm(
    input: Tensor, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
) -> Tensor:
    (x, dx), (w, dw), (b, db) = _parts(input), _parts(weight), _parts(bias)
    if not training or dx is None:
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    # The operations that are behind `F.batch_norm` and its backward pass: they hand over the batch's statistics.
    output, mean, scale = torch.native_batch_norm(x, w, b, None, None, True, 0.0, eps)
    wanted = [True, False, False]
    backward = torch.ops.aten.native_batch_norm_backward
    tangent, _, _ = backward(dx, x, w, None, None, mean, scale, True, eps, wanted)
    shape = (-1,) + (1,) * (x.ndim - 2)  # of a number a channel
    if dw is not None:  # the normalized input times `dw`
        tangent = tangent.addcmul(x, (scale * dw).view(shape)).sub_((mean * scale * dw).view(shape))
    if db is not None:
        tangent = tangent + db.view(shape)
    return forward_ad.make_dual(output, tangent.to(output.dtype))


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    x, dx = _parts(input)
    if not training or dx is None:
        return F.dropout(input, p, training, inplace)
    mask = F.dropout(torch.ones_like(x), p, training=True)
    return forward_ad.make_dual(x * mask, dx * mask)


def _parts(tensor: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Value and tangent, each None where there is none."""
    return (None, None) if tensor is None else tuple(forward_ad.unpack_dual(tensor))


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
    # Its first use makes torch load formulas that warn of their own deprecated compiler.
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", FutureWarning)
        forward_ad.make_dual(torch.zeros(()), torch.zeros(()))
