"""Residual networks for small images.

``resnet18`` and ``resnet34`` are torchvision's networks (He et al., 2016) with another stem: a 3 x 3 convolution of stride 1
and no pooling, as everybody does on CIFAR. They are written out here since a machine that only trains need not have
torchvision; a test holds them against it, weight by weight.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lib.networks import Backbone, image_shape, register


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, which is a 1 x 1 convolution where the shape changes."""

    def __init__(self, before: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Identity()
        if stride != 1 or before != width:
            self.shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(inner + self.shortcut(x))


def residual(
    x_shape: tuple[int, ...], n_classes: int, widths: Sequence[int], depths: Sequence[int], padding: int = 1
) -> Backbone:
    """A residual network of stages with so many channels and blocks each, which halve the image after the first.

    ``padding`` is that of the stem, a 3 x 3 convolution: 0 in CCC's released code, which makes 30 x 30 maps of 32 x 32 images.
    """
    channels, *_ = image_shape("resnet", x_shape, least=2 ** len(widths))
    stem = nn.Conv2d(channels, widths[0], 3, padding=padding, bias=False)
    parts: list[nn.Module] = [stem, nn.BatchNorm2d(widths[0]), nn.ReLU()]
    before = widths[0]
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for block in range(depth):
            parts.append(Block(before, width, 2 if stage and not block else 1))
            before = width
    backbone = Backbone(nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten()), before, n_classes)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):  # as torchvision does
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return backbone


@register("resnet18")
def resnet18(x_shape: tuple[int, ...], n_classes: int, padding: int = 1) -> Backbone:
    """ResNet-18 for CIFAR: four stages of two blocks. ``padding`` as in :func:`residual`."""
    return residual(x_shape, n_classes, (64, 128, 256, 512), (2, 2, 2, 2), padding)


@register("resnet34")
def resnet34(x_shape: tuple[int, ...], n_classes: int, padding: int = 1) -> Backbone:
    """ResNet-34 for CIFAR: four stages of 3, 4, 6 and 3 blocks. ``padding`` as in :func:`residual`."""
    return residual(x_shape, n_classes, (64, 128, 256, 512), (3, 4, 6, 3), padding)


class _Residual(nn.Sequential):
    """Some modules beside a shortcut that changes nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


@register("resnet9")
def resnet9(x_shape: tuple[int, ...], n_classes: int, dropout: float = 0.2) -> Backbone:
    """ResNet-9: GeoCrowdNet's CIFAR-10 network, eight convolutions and a linear layer on the 512 largest responses, of which
    ``dropout`` are dropped in training."""
    channels, height, width = image_shape("resnet9", x_shape, least=8)
    trunk = nn.Sequential(
        *_convolution(channels, 64),
        *_convolution(64, 128, pool=True),
        _Residual(*_convolution(128, 128), *_convolution(128, 128)),
        *_convolution(128, 256, pool=True),
        *_convolution(256, 512, pool=True),
        _Residual(*_convolution(512, 512), *_convolution(512, 512)),
        nn.MaxPool2d((height // 8, width // 8)),
        nn.Flatten(),
        nn.Dropout(dropout),
    )
    return Backbone(trunk, 512, n_classes)


def _convolution(before: int, width: int, pool: bool = False) -> list[nn.Module]:
    parts: list[nn.Module] = [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    return [*parts, nn.MaxPool2d(2)] if pool else parts
