"""Losses that ignore unlabelled pixels and weigh the others."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
SHARE_WEIGHT = 2.0
"""What the core's share of the foreground counts in the loss of objects."""


def cross_entropy(logits: Tensor, classes: Tensor, weight: Tensor) -> Tensor:
    """Return the mean cross-entropy of the labelled pixels, each counting alike."""
    return weighted_cross_entropy(logits, classes, (weight > 0).to(weight.dtype))


def weighted_cross_entropy(logits: Tensor, classes: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean cross-entropy [1]_.

    Parameters
    ----------
    logits : Tensor, shape (B, n_classes, *spatial)
        One channel is the binary form: the logit of class 1 against 0.
    classes : Tensor of int64, shape (B, *spatial)
        Class index; any value where the weight is 0.
    weight : Tensor of float, shape (B, *spatial)
        0 = unlabelled.

    Returns
    -------
    Tensor
        A scalar; 0 if nothing is labelled.

    References
    ----------
    .. [1] Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015.

    Examples
    --------
    >>> logits = torch.zeros(1, 2, 2, 2)
    >>> loss = weighted_cross_entropy(logits, torch.ones(1, 2, 2, dtype=torch.int64), torch.ones(1, 2, 2))
    >>> round(float(loss), 3)
    0.693
    """
    return _weighted_mean(_pixel_cross_entropy(logits, classes, weight), weight)


def focal(logits: Tensor, classes: Tensor, weight: Tensor, gamma: float = 2.0) -> Tensor:
    """Return the weighted mean focal loss [1]_: easy pixels count less. Shapes as in cross-entropy.

    References
    ----------
    .. [1] Lin et al., Focal Loss for Dense Object Detection, 2017.
    """
    loss = _pixel_cross_entropy(logits, classes, weight)
    return _weighted_mean((1 - torch.exp(-loss)) ** gamma * loss, weight)


def dice(logits: Tensor, classes: Tensor, weight: Tensor) -> Tensor:
    """Return one minus the mean soft Dice of the classes that occur [1]_. Shapes as in cross-entropy.

    The sums run over the labelled pixels of the whole batch: a patch may lack a class.

    References
    ----------
    .. [1] Milletari et al., V-Net, 2016.
    """
    logits = _labelled_logits(logits, weight)
    labelled = (weight > 0).unsqueeze(1)  # B, 1, *spatial
    probabilities = torch.softmax(logits, 1) * labelled
    truth = (
        F.one_hot(_safe(classes, weight), logits.shape[1]).movedim(-1, 1) * labelled
    )  # B, n_classes, *spatial
    over = [0, *range(2, logits.ndim)]
    overlap, total = (probabilities * truth).sum(over), (probabilities + truth).sum(over)
    present = truth.sum(over) > 0
    score = (2 * overlap + 1) / (total + 1)
    return 1 - (score * present).sum() / present.sum().clamp(min=1) if present.any() else logits.sum() * 0


def cross_entropy_dice(logits: Tensor, classes: Tensor, weight: Tensor) -> Tensor:
    """Return the sum of weighted cross-entropy and Dice loss."""
    return weighted_cross_entropy(logits, classes, weight) + dice(logits, classes, weight)


def object_loss(
    logits: Tensor, classes: Tensor, weight: Tensor, core_share: Tensor, foreground_loss: Loss
) -> Tensor:
    """Learn what is foreground, and how much of it is core.

    Both are read from one softmax and can be right at once: the loss of the foreground sees rim and core as
    one class, that of the share only how they differ.

    Parameters
    ----------
    logits : Tensor, shape (B, 3, *spatial)
        Background, rim and core.
    classes, weight : Tensor, shape (B, *spatial)
        As in cross-entropy.
    core_share : Tensor of float, shape (B, *spatial)
        0 to 1; what it is in the background does not matter.
    foreground_loss : Loss
        Of background against foreground.

    Returns
    -------
    Tensor
        A scalar; 0 if nothing is labelled.

    Examples
    --------
    >>> logits, half = torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 0.5)
    >>> rim, ones = torch.ones(1, 2, 2, dtype=torch.int64), torch.ones(1, 2, 2)
    >>> round(float(object_loss(logits, rim, ones, half, cross_entropy)), 3)  # log 3/2 + 2 log 2
    1.792
    """
    logits = _labelled_logits(logits, weight)
    two = torch.stack([logits[:, 0], logits[:, 1:].logsumexp(1)], 1)  # its softmax has the same background
    inside = ((classes > 0) & (weight > 0)).to(logits.dtype)
    # cross-entropy with shares is their Kullback-Leibler divergence and a constant
    share = F.binary_cross_entropy_with_logits(logits[:, 2] - logits[:, 1], core_share, reduction="none")
    return foreground_loss(two, (classes > 0).long(), weight) + SHARE_WEIGHT * _weighted_mean(share, inside)


LOSSES: dict[str, Loss] = {
    "ce": cross_entropy,
    "weighted-ce": weighted_cross_entropy,
    "dice": dice,
    "ce+dice": cross_entropy_dice,
    "focal": focal,
}


def _labelled_logits(logits: Tensor, weight: Tensor) -> Tensor:
    # the binary form is the two-class one whose background logit stays at 0
    two = torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits
    # cut off here, because the gradient of a non-finite logit is NaN even if its pixel weighs nothing
    return torch.where((weight > 0).unsqueeze(1), two.float(), 0)


def _safe(classes: Tensor, weight: Tensor) -> Tensor:
    return torch.where(weight > 0, classes, 0)


def _pixel_cross_entropy(logits: Tensor, classes: Tensor, weight: Tensor) -> Tensor:
    return F.cross_entropy(_labelled_logits(logits, weight), _safe(classes, weight), reduction="none")


def _weighted_mean(loss: Tensor, weight: Tensor) -> Tensor:
    return (loss * weight).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
