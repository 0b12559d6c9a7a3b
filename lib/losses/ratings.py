"""The loss of crowd layers for numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def rating_loss(
    prediction: Tensor, value: Tensor, position: Tensor, annotator: Tensor, scale: Tensor | None, bias: Tensor | None
) -> Tensor:
    """Squared error of the annotators' expected ratings ``scale_r f(x) + bias_r``, mean over ratings.

    A rating that nobody gave has no row and costs nothing (Rodrigues & Pereira, AAAI 2018: the variants S, B and S+B).

    Args:
        prediction: ``[batch]`` the network's ratings.
        value: ``[ratings]`` what was said.
        position: ``[ratings]`` int64, the row of ``prediction`` that each rating is about.
        annotator: ``[ratings]`` int64.
        scale, bias: ``[annotators]``; None for 1 and 0.

    Returns:
        Scalar, in the square of the ratings' unit.

    Raises:
        ValueError: no ratings, or vectors of different lengths.
    """
    if not 0 < len(position) == len(annotator) == len(value):
        lengths = (len(position), len(annotator), len(value))
        raise ValueError(f"position, annotator and value must be equally long and not empty, found lengths {lengths}")
    expected = prediction[position]
    if scale is not None:
        expected = scale[annotator] * expected
    if bias is not None:
        expected = expected + bias[annotator]
    return torch.mean((expected - value) ** 2)
