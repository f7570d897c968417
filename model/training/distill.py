"""Losses that carry knowledge from the teacher to a student, one function each (Eq. 1-4, 7-10).

Every loss takes the student's tensor first and the teacher's second; the teacher's is detached
here, so that no gradient can reach it. Where the authors' release differs from their paper, the
paper's form is the default and the release's is the form `release`; `docs/equations.md` records
each decision.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
import torch.nn.functional as F

from model.errors import ShapeError

Form = Literal["paper", "release"]
ThresholdGradient = Literal["straight_through", "sigmoid"]
TEMPERATURE = 10.0
"""Distillation temperature; the paper gives none, the release uses 10."""


class CorrelationLoss(Protocol):
    """F_n of Eq. 4: student's and teacher's correlation maps [B x C x M x M] to a scalar."""

    def __call__(
        self, student: torch.Tensor, teacher: torch.Tensor, form: Form = "paper"
    ) -> torch.Tensor:
        """Compare the two."""
        ...


_TILE = 16
_RELEASE_L2_SCALE = 0.01
_RELEASE_THRESHOLD_SCALE = 5.0


def kd_cls_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    temperature: float = TEMPERATURE,
    form: Form = "paper",
) -> torch.Tensor:
    """L_KDC (Eq. 1, 2): KL divergence of the softened classification logits.

    Args:
        student: [B x 2k x M x M] logits; channel c·k + a is class c of anchor a.
        teacher: the same of the teacher.
        temperature: τ, divides both logits.
        form: `paper` softens over background and target of each anchor; `release` over all
            anchors of the batch together.

    Returns:
        Scalar: Σ p_T log(p_T / p_S) over the soft-max axis, averaged over the rows
        (one row an anchor).
    """
    _same_shape(student, teacher)
    return _kl(_class_rows(student), _class_rows(teacher), temperature, form)


def kd_loc_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    temperature: float = TEMPERATURE,
    form: Form = "paper",
) -> torch.Tensor:
    """L_KDR (Eq. 3): KL divergence of the softened regression logits.

    Args:
        student: [B x 4k x M x M] regression outputs.
        teacher: the same of the teacher.
        temperature: τ, divides both.
        form: `paper` softens over the 4k logits of each position; `release` over all positions
            of the batch together.

    Returns:
        Scalar, averaged over the rows (one row a position).
    """
    _same_shape(student, teacher)
    return _kl(_position_rows(student), _position_rows(teacher), temperature, form)


def crl_l2_loss(student: torch.Tensor, teacher: torch.Tensor, form: Form = "paper") -> torch.Tensor:
    """L_CRL of student 1 (Eq. 7): mean square error of the correlation maps.

    Args:
        student: [B x C x M x M].
        teacher: [B x C x M x M].
        form: `release` compares soft-maxes over the whole flattened batch, times 0.01.
    """
    _same_shape(student, teacher)
    student, teacher = student.float(), teacher.detach().float()
    if form == "release":
        s, t = student.flatten().softmax(0), teacher.flatten().softmax(0)
        return F.mse_loss(s, t) * _RELEASE_L2_SCALE
    return F.mse_loss(student, teacher)


def crl_spatial_loss(
    student: torch.Tensor, teacher: torch.Tensor, form: Form = "paper"
) -> torch.Tensor:
    """L_CRL of student 2 (Eq. 8, 9): spatial consistency.

    Each map goes through a soft-max over its M·M pixels; N(i) is the sum of the four gaps between
    a pixel and its neighbours; the loss is the mean of (N_S - N_T)². A neighbour outside the map
    counts as 0 (as in Zero-DCE's spatial loss), so only equal maps give 0.

    Args:
        student: [B x C x M x M].
        teacher: [B x C x M x M].
        form: `release` has no soft-max, tiles the batch's maps into images of 16 M x 16 M whose
            mean it compares, and squares each direction's gap on its own; B·C must be a multiple
            of 256 there.
    """
    _same_shape(student, teacher)
    student, teacher = student.float(), teacher.detach().float()
    if form == "release":
        gaps = _gaps(_tiled_mean(student)) - _gaps(_tiled_mean(teacher))
        return gaps.square().sum(1).mean()
    difference = neighbour_sum(_map_softmax(student)) - neighbour_sum(_map_softmax(teacher))
    return difference.square().mean()


def crl_threshold_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    form: Form = "paper",
    gradient: ThresholdGradient = "straight_through",
) -> torch.Tensor:
    """L_CRL of student 3 (Eq. 10): response threshold.

    A pixel is 1 where it is above the mean of its own map and 0 elsewhere; the loss is the mean
    of (B_S - B_T)². As printed, Eq. 10 neither squares the difference nor has a gradient: the
    step's derivative is 0 everywhere. Here the backward pass sees a sigmoid around the threshold,
    as wide as the map's own standard deviation.

    Args:
        student: [B x C x M x M].
        teacher: [B x C x M x M].
        form: `release` thresholds a soft-max over the whole batch at its mean, times 5. Its
            gradient is exactly zero: it is kept to reproduce the release and teaches nothing.
        gradient: `straight_through` has the step's value and the sigmoid's gradient; `sigmoid`
            compares the sigmoids themselves.
    """
    _same_shape(student, teacher)
    student, teacher = student.float(), teacher.detach().float()
    if form == "release":
        s, t = student.flatten().softmax(0), teacher.flatten().softmax(0)
        binary_s, binary_t = (s > s.mean()).float(), (t > t.mean()).float()
        # The product with 0 keeps the graph alive; the gradient stays exactly zero.
        return F.mse_loss(binary_s, binary_t) * _RELEASE_THRESHOLD_SCALE + 0.0 * student.sum()
    soft_s = _soft_threshold(student)
    if gradient == "sigmoid":
        return F.mse_loss(soft_s, _soft_threshold(teacher))
    hard_s = _above_mean(student) + (soft_s - soft_s.detach())
    return F.mse_loss(hard_s, _above_mean(teacher))


def neighbour_sum(maps: torch.Tensor) -> torch.Tensor:
    """N(i) of Eq. 9: the sum of the gaps between each pixel and its four neighbours.

    Args:
        maps: [B x C x M x M].

    Returns:
        [B x C x M x M]; neighbours outside the map count as 0.
    """
    padded = F.pad(maps, (1, 1, 1, 1))
    vertical = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1]
    horizontal = padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
    return 4.0 * maps - vertical - horizontal


CORRELATION_LOSSES: dict[str, CorrelationLoss] = {
    "l2": crl_l2_loss,
    "spatial": crl_spatial_loss,
    "threshold": crl_threshold_loss,
}
"""F_n of Eq. 4 by name: students 1, 2 and 3 of the paper."""


def _kl(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float, form: Form
) -> torch.Tensor:
    axis = 1 if form == "paper" else 0
    log_p_s = F.log_softmax(student.float() / temperature, axis)
    log_p_t = F.log_softmax(teacher.detach().float() / temperature, axis)
    return (log_p_t.exp() * (log_p_t - log_p_s)).sum() / student.shape[0]


def _class_rows(cls: torch.Tensor) -> torch.Tensor:
    """[B x 2k x M x M] to [B·k·M·M x 2]."""
    return cls.reshape(cls.shape[0], 2, -1).permute(0, 2, 1).reshape(-1, 2)


def _position_rows(loc: torch.Tensor) -> torch.Tensor:
    """[B x 4k x M x M] to [B·M·M x 4k]."""
    return loc.permute(0, 2, 3, 1).reshape(-1, loc.shape[1])


def _map_softmax(maps: torch.Tensor) -> torch.Tensor:
    return maps.flatten(2).softmax(2).reshape(maps.shape)


def _above_mean(maps: torch.Tensor) -> torch.Tensor:
    return (maps > maps.mean((2, 3), keepdim=True)).float()


def _soft_threshold(maps: torch.Tensor) -> torch.Tensor:
    distance = maps - maps.mean((2, 3), keepdim=True)
    width = distance.detach().square().mean((2, 3), keepdim=True).sqrt().clamp_min(1e-6)
    return torch.sigmoid(distance / width)


def _tiled_mean(maps: torch.Tensor) -> torch.Tensor:
    batch, channels, rows, cols = maps.shape
    if batch * channels % _TILE**2:
        raise ShapeError(
            f"the release's spatial loss tiles {_TILE**2} maps into an image: got {batch} x "
            f"{channels} maps; use a batch that makes a multiple, or the paper's form"
        )
    return maps.reshape(1, -1, _TILE * rows, _TILE * cols).mean(1, keepdim=True)


def _gaps(image: torch.Tensor) -> torch.Tensor:
    """[1 x 1 x H x W] to the gaps to the left, right, upper and lower neighbour [1 x 4 x H x W]."""
    padded = F.pad(image, (1, 1, 1, 1))
    left, right = padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
    up, down = padded[..., :-2, 1:-1], padded[..., 2:, 1:-1]
    return image - torch.cat([left, right, up, down], 1)


def _same_shape(student: torch.Tensor, teacher: torch.Tensor) -> None:
    if student.shape != teacher.shape:
        raise ShapeError(
            f"the student's tensor is {tuple(student.shape)} and the teacher's "
            f"{tuple(teacher.shape)}: expected the same shape"
        )
