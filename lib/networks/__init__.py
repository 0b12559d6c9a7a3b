"""Classifiers by name. A backbone knows nothing of crowds: features in, class logits out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lib.registry import Registry, check_options, options_of

# The module of each; a new network is a file, a line here, and its test.
CATALOGUE = {
    "linear": "mlp",
    "mlp": "mlp",
    "mlp-norm": "mlp",
    "mlp-bn": "mlp",
    "lenet": "convolutional",
    "lenet-bn": "convolutional",
    "resnet18": "resnet",
    "resnet34": "resnet",
    "resnet9": "resnet",
    "dogs-vs-cats": "convolutional",
    "tagger": "tagger",
}
_registry: Registry[Callable[..., Backbone]] = Registry("backbone", __name__, CATALOGUE)


class Backbone(nn.Module):
    """A trunk and a linear head, kept apart because several crowd methods attach to the features.

    The trunk takes ``[batch, ...]`` inputs to ``[batch, n_features]`` features.

    Attributes:
        x_shape: shape of one input, set by :func:`build`.
        half: whether the trunk computes in bfloat16 (by autocast: weights stay float32, and so does all after the features).
        channels_last: whether images lie with their channels together, as tensor cores want them.
    """

    x_shape: tuple[int, ...] = ()
    half: bool = False
    channels_last: bool = False

    def __init__(self, trunk: nn.Module, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.n_features = n_features
        self.n_classes = n_classes
        self.head = nn.Linear(n_features, n_classes)
        # On the device from the start: a constant made for each batch would wait for the device each time.
        self.register_buffer("_scale", None, persistent=False)
        self.register_buffer("_shift", None, persistent=False)

    def normalize_bytes(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        """Take inputs that are images as bytes, with the mean and standard deviation of each channel, of values from 0 to 1."""
        mean, deviation = (torch.tensor(part, dtype=torch.float64).view(-1, 1, 1) for part in (mean, deviation))
        self._scale = (1 / (255 * deviation)).to(self.head.weight)
        self._shift = (-mean / deviation).to(self.head.weight)

    def inputs(self, x: Tensor) -> Tensor:
        """The numbers of the inputs: images as bytes become ``(x / 255 - mean) / deviation``, all else stays. Raises ValueError
        for images as bytes without :meth:`normalize_bytes`."""
        if x.dtype != torch.uint8:
            return x
        if self._scale is None:
            raise ValueError("the inputs are bytes: build the backbone with normalize=(means, deviations) of the channels")
        return torch.addcmul(self._shift, x.to(self._scale.dtype), self._scale)

    def features(self, x: Tensor) -> Tensor:
        """``[batch, n_features]``, what the head reads."""
        x = self.inputs(x)
        if self.channels_last and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        if not self.half:
            return self.trunk(x)
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return self.trunk(x).to(x.dtype)

    def prepare(self, data: Any) -> None:
        """Called once with the data set, before training: a network that does not fit it raises ValueError."""

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, n_classes]`` class logits."""
        return self.head(self.features(x))


def register(name: str) -> Callable:
    """Give a function ``(x_shape, n_classes, **options) -> Backbone`` its name in the catalogue."""

    def decorate(make: Callable[..., Backbone]) -> Callable[..., Backbone]:
        _registry.add(name, make)
        return make

    return decorate


def names() -> list[str]:
    """All backbones."""
    return _registry.names()


def defaults(name: str) -> dict[str, Any]:
    """A backbone's options with their defaults. Raises ValueError for an unknown one."""
    return options_of(_registry.get(name), first=2)


def build(
    name: str,
    x_shape: Sequence[int],
    n_classes: int,
    normalize: tuple[Sequence[float], Sequence[float]] | None = None,
    **options,
) -> Backbone:
    """A fresh backbone for inputs of a shape, without the batch axis; its weights come from torch's global generator.

    ``normalize`` is the mean and standard deviation of each channel, for inputs that are images as bytes.

    Raises:
        ValueError: unknown name, an option that the backbone does not have, or inputs that it cannot take.
    """
    check_options(f"backbone {name!r}", options, defaults(name))
    backbone = _registry.get(name)(tuple(x_shape), n_classes, **options)
    backbone.x_shape = tuple(x_shape)
    if normalize is not None:
        backbone.normalize_bytes(*normalize)
    return backbone


def image_shape(name: str, x_shape: tuple[int, ...], least: int) -> tuple[int, ...]:
    """The shape itself. Raises ValueError for one that is no image, or too small a one."""
    if len(x_shape) != 3 or min(x_shape[1:]) < least:
        raise ValueError(
            f"backbone {name!r} needs images of (channels, height, width), {least} or more pixels a side, found {x_shape}"
        )
    return x_shape
