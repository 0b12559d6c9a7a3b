"""LeNets: small convolutional networks without shortcuts."""

from __future__ import annotations

from torch import nn

from lib.networks import Backbone, register


@register("lenet")
def lenet(x_shape: tuple[int, ...], n_classes: int) -> Backbone:
    """LeNet-5 with ReLU and max pooling: GeoCrowdNet's MNIST network. Two convolutions of 6 and 16 channels, layers of 120
    and 84 units; the first convolution keeps the size of 28 x 28 images."""
    channels, *size = image_shape("lenet", x_shape, least=12)
    height, width = ((side // 2 - 4) // 2 for side in size)
    trunk = nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * height * width, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
    )
    return Backbone(trunk, 84, n_classes)


@register("lenet-bn")
def lenet_bn(x_shape: tuple[int, ...], n_classes: int) -> Backbone:
    """A LeNet that can memorize tens of thousands of labels on a processor: convolutions of 32 and 64 channels and a layer of
    512 units, batch normalization after each. The first convolution keeps the size of the image."""
    channels, *size = image_shape("lenet-bn", x_shape, least=12)
    height, width = ((side // 2 - 4) // 2 for side in size)
    trunk = nn.Sequential(
        nn.Conv2d(channels, 32, 5, padding=2),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * height * width, 512),
        nn.BatchNorm1d(512),
        nn.ReLU(),
    )
    return Backbone(trunk, 512, n_classes)


def image_shape(name: str, x_shape: tuple[int, ...], least: int) -> tuple[int, ...]:
    """The shape itself. Raises ValueError for one that is no image, or too small a one."""
    if len(x_shape) != 3 or min(x_shape[1:]) < least:
        raise ValueError(
            f"backbone {name!r} needs images of (channels, height, width), {least} or more pixels a side, found {x_shape}"
        )
    return x_shape
