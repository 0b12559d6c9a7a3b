"""Our networks on feature vectors in plain torch, for the sides of peers."""

from math import prod

from torch import nn


def network_of(name: str, x_shape: tuple[int, ...], classes: int) -> tuple[nn.Module, nn.Module]:
    """Our networks ``linear``, ``mlp`` and ``mlp-norm`` in two parts: trunk and head."""
    inputs = prod(x_shape)
    if name == "linear":
        return nn.Flatten(), nn.Linear(inputs, classes)
    inner = [nn.Linear(inputs, 128), nn.ReLU(), nn.Dropout(0.5)]
    if name == "mlp-norm":
        inner = [nn.BatchNorm1d(inputs, affine=False), *inner, nn.BatchNorm1d(128, affine=False)]
    return nn.Sequential(nn.Flatten(), *inner), nn.Linear(128, classes)
