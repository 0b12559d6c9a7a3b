"""Networks on feature vectors, as the papers use them on LabelMe and Music."""

import math
from collections.abc import Sequence

from torch import nn

from lib.networks import Backbone, register


@register("linear")
def linear(x_shape: tuple[int, ...], n_classes: int) -> Backbone:
    """Logistic regression."""
    return Backbone(nn.Flatten(), math.prod(x_shape), n_classes)


@register("mlp")
def mlp(x_shape: tuple[int, ...], n_classes: int, width: int = 128, dropout: float = 0.5) -> Backbone:
    """A hidden ReLU layer of ``width`` units, of which ``dropout`` are dropped in training: the LabelMe network of Rodrigues &
    Pereira (AAAI 2018)."""
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(x_shape), width), nn.ReLU(), nn.Dropout(dropout))
    return Backbone(trunk, width, n_classes)


@register("mlp-norm")
def mlp_norm(x_shape: tuple[int, ...], n_classes: int, width: int = 128, dropout: float = 0.5) -> Backbone:
    """The same between two batch normalizations without scale and shift: the Music network of CoNAL (AAAI 2021)."""
    inputs = math.prod(x_shape)
    trunk = nn.Sequential(
        nn.Flatten(),
        nn.BatchNorm1d(inputs, affine=False),
        nn.Linear(inputs, width),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.BatchNorm1d(width, affine=False),
    )
    return Backbone(trunk, width, n_classes)


@register("mlp-bn")
def mlp_bn(x_shape: tuple[int, ...], n_classes: int, widths: Sequence[int] = (512, 512)) -> Backbone:
    """A head for frozen features, of the kind that memorizes: batch-normalized ReLU layers of so many units each, on
    batch-normalized inputs."""
    before = math.prod(x_shape)
    parts: list[nn.Module] = [nn.Flatten(), nn.BatchNorm1d(before, affine=False)]
    for width in widths:
        parts += [nn.Linear(before, width), nn.BatchNorm1d(width), nn.ReLU()]
        before = width
    return Backbone(nn.Sequential(*parts), before, n_classes)
