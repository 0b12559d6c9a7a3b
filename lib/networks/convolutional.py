"""Small convolutional networks without shortcuts: LeNets, and the Dogs vs. Cats network of the Crowd Layer's paper."""

from torch import nn

from lib.networks import Backbone, image_shape, register


@register("lenet")
def lenet(x_shape: tuple[int, ...], n_classes: int) -> Backbone:
    """LeNet-5 with ReLU and max pooling: GeoCrowdNet's MNIST network. Two convolutions of 6 and 16 channels, layers of 120
    and 84 units; the first convolution keeps the size of 28 x 28 images."""
    return _lenet("lenet", x_shape, n_classes, channels=(6, 16), widths=(120, 84), norm=False)


@register("lenet-bn")
def lenet_bn(x_shape: tuple[int, ...], n_classes: int) -> Backbone:
    """A LeNet that can memorize tens of thousands of labels on a processor: convolutions of 32 and 64 channels and a layer of
    512 units, batch normalization after each. The first convolution keeps the size of the image."""
    return _lenet("lenet-bn", x_shape, n_classes, channels=(32, 64), widths=(512,), norm=True)


def _lenet(
    name: str, x_shape: tuple[int, ...], n_classes: int, channels: tuple[int, int], widths: tuple[int, ...], norm: bool
) -> Backbone:
    before, *sides = image_shape(name, x_shape, least=12)
    parts: list[nn.Module] = []
    for after, padding in zip(channels, (2, 0), strict=True):
        parts += [nn.Conv2d(before, after, 5, padding=padding), *([nn.BatchNorm2d(after)] if norm else [])]
        parts += [nn.MaxPool2d(2), nn.ReLU()]  # the other order's numbers and gradients, for a quarter of the ReLUs
        before, sides = after, [(side + 2 * padding - 4) // 2 for side in sides]
    parts.append(nn.Flatten())
    before *= sides[0] * sides[1]
    for width in widths:
        parts += [nn.Linear(before, width), *([nn.BatchNorm1d(width)] if norm else []), nn.ReLU()]
        before = width
    return Backbone(nn.Sequential(*parts), before, n_classes)


@register("dogs-vs-cats")
def dogs_vs_cats(x_shape: tuple[int, ...], n_classes: int, padding: int = 0) -> Backbone:
    """Rodrigues & Pereira's Dogs vs. Cats network (AAAI 2018): four 3 x 3 convolutions of 32, 32, 64 and 64 channels, each with
    max pooling, and a layer of 128 units with dropout. Batch normalization after the first, without a scale of its own.

    ``padding`` of the convolutions is 0 as published, for images of 150 x 150 pixels; 1 for images of 32 x 32, of which four
    convolutions without padding would leave nothing.
    """
    before, *sides = image_shape("dogs-vs-cats", x_shape, least=16 if padding else 46)
    parts: list[nn.Module] = []
    for stage, width in enumerate((32, 32, 64, 64)):
        parts += [nn.Conv2d(before, width, 3, padding=padding), nn.MaxPool2d(2), nn.ReLU()]
        if stage == 0:
            norm = nn.BatchNorm2d(width)
            norm.weight.requires_grad_(False)
            parts.append(norm)
        before, sides = width, [(side + 2 * padding - 2) // 2 for side in sides]
    trunk = nn.Sequential(*parts, nn.Flatten(), nn.Linear(64 * sides[0] * sides[1], 128), nn.ReLU(), nn.Dropout(0.5))
    return Backbone(trunk, 128, n_classes)
