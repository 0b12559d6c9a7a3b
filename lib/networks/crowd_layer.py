"""The network of Rodrigues & Pereira's Dogs vs. Cats experiment (AAAI 2018)."""

from __future__ import annotations

from torch import nn

from lib.networks import Backbone, register


@register("dogs-vs-cats")
def dogs_vs_cats(x_shape: tuple[int, ...], n_classes: int, padding: int = 0) -> Backbone:
    """Four 3 x 3 convolutions of 32, 32, 64 and 64 channels, each with max pooling, and a layer of 128 units with dropout.
    Batch normalization after the first, without a scale of its own.

    Args:
        padding: of the convolutions: 0 as published, for images of 150 x 150 pixels; 1 for images of 32 x 32, of which four
            convolutions without padding would leave nothing.

    Raises:
        ValueError: no image, or one too small.
    """
    if len(x_shape) != 3:
        raise ValueError(f"backbone 'dogs-vs-cats' needs images of (channels, height, width), found {x_shape}")
    before, *sides = x_shape
    parts: list[nn.Module] = []
    for stage, width in enumerate((32, 32, 64, 64)):
        parts += [nn.Conv2d(before, width, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(2)]
        if stage == 0:
            norm = nn.BatchNorm2d(width)
            norm.weight.requires_grad_(False)
            parts.append(norm)
        before, sides = width, [(side + 2 * padding - 2) // 2 for side in sides]
    if min(sides) < 1:
        raise ValueError(f"backbone 'dogs-vs-cats' leaves nothing of {x_shape} images with padding {padding}: too small")
    trunk = nn.Sequential(*parts, nn.Flatten(), nn.Linear(64 * sides[0] * sides[1], 128), nn.ReLU(), nn.Dropout(0.5))
    return Backbone(trunk, 128, n_classes)
