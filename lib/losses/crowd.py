"""Losses of the crowd methods: pure functions of tensors.

Labels are flat triples of a batch, ``[labels]`` int64 each: ``position`` is the row of the batch that a label is about,
``annotator`` who gave it, ``label`` what was said. A label that nobody gave has no row and costs nothing. Confusion matrices
are ``A[annotator, true class, label]`` with rows that sum to one. Losses are scalars in nats.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# Numbers in all confusion matrices from which on a form is taken that is faster there; smaller crowds keep the last digits
# that their committed numbers were made with.
LARGE = 2**18
WITHOUT_FLOAT64 = ("mps",)  # Apple's GPUs


def soft_cross_entropy(class_logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of logits ``[batch, classes]`` against non-negative weights of the same shape, mean over items.

    Rows of ``target`` need not sum to one: a row's sum is its item's weight.
    """
    return -(target * F.log_softmax(class_logits, dim=1)).sum(dim=1).mean()


def annotator_log_prob(
    class_logits: Tensor, log_confusion: Tensor, position: Tensor, annotator: Tensor, label: Tensor
) -> Tensor:
    """Log-probability ``[labels]`` of each label, seen through its annotator's confusion matrix: ``log sum_j p(j | x) A[r,
    j, k]``.

    From ``class_logits`` ``[batch, classes]`` and the logarithm of all matrices, in log space, so nothing needs clipping
    (Rodrigues & Pereira 2018, Tanno et al. 2019, Ibrahim et al. 2023, Eq. 6).

    Raises:
        ValueError: no labels, or vectors of different lengths.
    """
    _check_triples(position, annotator, label)
    log_class = F.log_softmax(class_logits, dim=1)[position]
    return torch.logsumexp(log_class + log_confusion[annotator, :, label], dim=1)


def log_rows(logits: Tensor) -> Tensor:
    """Log-softmax over the last axis, the labels of ``[annotators, true class, label]``."""
    # On a processor `log_softmax` takes up to five times as long over a few classes, and a fifth of the time over many.
    return F.log_softmax(logits, dim=-1) if logits.shape[-1] >= 32 else logits - logits.logsumexp(dim=-1, keepdim=True)


def coupled_cross_entropy(
    class_logits: Tensor, log_confusion: Tensor, position: Tensor, annotator: Tensor, label: Tensor
) -> Tensor:
    """Mean surprise at the crowd's labels; arguments and errors as in :func:`annotator_log_prob`.

    Plain cross-entropy when every confusion matrix is the identity. Reference: CCEM, Ibrahim, Nguyen & Fu (ICLR 2023),
    Eq. 6; their ``A_m`` is the transpose of ``A[m]``.
    """
    return -annotator_log_prob(class_logits, log_confusion, position, annotator, label).mean()


def crowd_layer_logits(class_prob: Tensor, weight: Tensor, position: Tensor, annotator: Tensor) -> Tensor:
    """Annotators' logits ``[labels, classes]`` of the matrix crowd layer, for the given labels only.

    ``a[k] = sum_j p[j] T[r, j, k]``: linear in the *probabilities* ``[batch, classes]``, and the ``weight`` ``T``
    ``[annotators, true class, label]`` is free (Rodrigues & Pereira, AAAI 2018).
    """
    # At a crowd's few classes a sum of products takes half the time of a batched product with one row each, and
    # `index_select` less than brackets.
    return (class_prob.index_select(0, position).unsqueeze(2) * weight.index_select(0, annotator)).sum(dim=1)


def label_cross_entropy(annotator_logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of annotators' logits ``[labels, classes]``, mean over labels. Raises ValueError where there are none."""
    if len(label) == 0:
        raise ValueError("a loss over labels needs at least one label, found none")
    return F.cross_entropy(annotator_logits, label)


def rating_loss(
    prediction: Tensor, value: Tensor, position: Tensor, annotator: Tensor, scale: Tensor | None, bias: Tensor | None
) -> Tensor:
    """Squared error of the annotators' expected ratings ``scale_r f(x) + bias_r``, mean over ratings.

    Of the network's ratings ``prediction`` ``[batch]`` and what was said, ``value`` ``[ratings]``. ``scale`` and ``bias`` are
    ``[annotators]``, None for 1 and 0 (Rodrigues & Pereira, AAAI 2018, the variants S, B and S+B). Errors as in
    :func:`annotator_log_prob`.
    """
    _check_triples(position, annotator, value, "value")
    expected = prediction[position]
    if scale is not None:
        expected = scale[annotator] * expected
    if bias is not None:
        expected = expected + bias[annotator]
    return torch.mean((expected - value) ** 2)


def classifier_volume(class_prob: Tensor, ridge: float = 1e-6) -> Tensor:
    """``-log det(sum_i p_i p_i^T)``: GeoCrowdNet(F)'s penalty (Ibrahim et al. 2023, Eq. 8), to be minimized.

    Small when predictions ``[batch, classes]`` are confident and use all classes equally, ``-C log(B / C)`` at least.
    ``ridge`` is added to the diagonal, so that a batch that misses a class has a finite value.

    Raises:
        ValueError: fewer rows than classes: the determinant would be zero whatever the predictions.
    """
    items, classes = class_prob.shape
    if items < classes:
        raise ValueError(f"the volume of a classifier needs a batch of at least {classes} items, found {items}")
    return -_log_det(class_prob.T, ridge)


def annotator_volume(confusion: Tensor, ridge: float = 1e-6) -> Tensor:
    """``-log det(sum_r A_r A_r^T)``: GeoCrowdNet(W)'s penalty (Ibrahim et al. 2023, Eq. 9), to be minimized.

    Of the matrices of all annotators, also those without a label in the batch. ``ridge`` is added to the diagonal.
    """
    if confusion.numel() < LARGE:
        return -_log_det(confusion.transpose(0, 1).flatten(1), ridge)
    # With rows that sum to one, A A^T = D D^T + 1/C where D = A - 1/C. The sum of D D^T is the small and telling part, and
    # float32 rounds it in proportion to itself; the part that would drown it is added in float64.
    annotators, classes, _ = confusion.shape
    gram = _exact(_SumOfProducts.apply(confusion - 1 / classes)) + annotators / classes
    return -_log_det_of_gram(gram, ridge, confusion)


class _SumOfProducts(torch.autograd.Function):
    """``sum_r D_r D_r^T`` of ``[annotators, classes, classes]``, without copies, and with one product on the way back where
    autograd, which does not know that both factors are the same, takes two."""

    @staticmethod
    def forward(ctx, parts: Tensor) -> Tensor:
        ctx.save_for_backward(parts)
        return torch.addbmm(parts.new_zeros(parts.shape[1:]), parts, parts.transpose(1, 2))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (parts,) = ctx.saved_tensors
        return torch.matmul(gradient + gradient.T, parts)


def mean_trace(confusion: Tensor) -> Tensor:
    """Mean over annotators of the trace of their confusion matrices, to be minimized (Tanno et al., CVPR 2019)."""
    return confusion.diagonal(dim1=1, dim2=2).sum(dim=1).mean()


def _log_det(rows: Tensor, ridge: float) -> Tensor:
    """``log det(rows @ rows.T + ridge I)``."""
    # In float64, which autocast leaves alone: float32 rounds the products of a batch by more than the ridge, so a nearly
    # singular matrix could get a determinant of the wrong sign, and a gradient that points the wrong way.
    exact = _exact(rows)
    return _log_det_of_gram(exact @ exact.T, ridge, rows)


def _log_det_of_gram(gram: Tensor, ridge: float, like: Tensor) -> Tensor:
    gram = gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.linalg.slogdet(gram).logabsdet.to(like.device, torch.promote_types(like.dtype, torch.float32))


def _exact(values: Tensor) -> Tensor:
    """In float64, on the CPU where their device has none."""
    return (values.cpu() if values.device.type in WITHOUT_FLOAT64 else values).double()


def _check_triples(position: Tensor, annotator: Tensor, said: Tensor, name: str = "label") -> None:
    if not 0 < len(position) == len(annotator) == len(said):
        lengths = (len(position), len(annotator), len(said))
        raise ValueError(f"position, annotator and {name} must be equally long and not empty, found lengths {lengths}")
