"""Base losses of SiamRPN++: classification and regression over the selected anchors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from model.training.targets import CANDIDATE, NEGATIVE, POSITIVE
from model.training.team import team_mean


@dataclass(frozen=True)
class BaseLosses:
    """The two losses of a batch, scalars with gradient."""

    cls: torch.Tensor
    loc: torch.Tensor


def flatten_cls(cls: torch.Tensor) -> torch.Tensor:
    """[B x 2k x M x M] logits to [B x 2 x N], N in the order of the anchors (k, M, M)."""
    return cls.reshape(cls.shape[0], 2, -1)


def flatten_loc(loc: torch.Tensor) -> torch.Tensor:
    """[B x 4k x M x M] deltas to [B x 4 x N], N in the order of the anchors (k, M, M)."""
    return loc.reshape(loc.shape[0], 4, -1)


def add_hard_negatives(cls: torch.Tensor, labels: torch.Tensor, count: int) -> torch.Tensor:
    """Label the `count` candidates of each pair with the highest target score as negative.

    Args:
        cls: [B x 2 x N] logits; no gradient is taken.
        labels: [B x N] int8; unchanged.
        count: negatives to add a pair.
    """
    if count == 0:
        return labels
    margin = (cls[:, 1] - cls[:, 0]).detach().float()
    margin = margin.masked_fill(labels != CANDIDATE, -torch.inf)
    best = margin.topk(min(count, margin.shape[1]), dim=1)
    values = torch.where(best.values > -torch.inf, NEGATIVE, labels.gather(1, best.indices))
    return labels.scatter(1, best.indices, values.to(labels.dtype))


def classification_loss(cls: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood: 0.5 · mean over positives + 0.5 · mean over negatives.

    Several processes count the anchors together: the mean over the processes of their losses, and
    of its gradients, is that of one process with the whole batch.

    Args:
        cls: [B x 2 x N] logits, background and target.
        labels: [B x N] int8; anchors that are neither positive nor negative do not count.
    """
    logp = F.log_softmax(cls.float(), 1)
    positive, negative = labels == POSITIVE, labels == NEGATIVE
    counts = team_mean(torch.stack([positive.sum(), negative.sum()]).float())
    shares = torch.where(counts > 0, 0.5 / counts, 0.0)  # a kind that is absent adds nothing
    sums = torch.stack([-logp[:, 1][positive].sum(), -logp[:, 0][negative].sum()])
    return (shares * sums).sum()


def regression_loss(loc: torch.Tensor, deltas: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted L1 of the deltas, summed and divided by the batch.

    Args:
        loc: [B x 4 x N] predicted deltas.
        deltas: [B x 4 x N] wanted deltas.
        weights: [B x N]; 0 where an anchor does not count.
    """
    error = (loc.float() - deltas).abs().sum(1)
    return (error * weights).sum() / loc.shape[0]


def base_losses(
    cls: torch.Tensor, loc: torch.Tensor, batch: dict[str, torch.Tensor], hard: int
) -> BaseLosses:
    """Both losses of the network's maps.

    Args:
        cls: [B x 2k x M x M].
        loc: [B x 4k x M x M].
        batch: `labels`, `deltas`, `weights` as in `model.training.targets.AnchorTargets`.
        hard: hard negatives to add a pair.
    """
    logits = flatten_cls(cls)
    labels = add_hard_negatives(logits, batch["labels"], hard)
    return BaseLosses(
        classification_loss(logits, labels),
        regression_loss(flatten_loc(loc), batch["deltas"], batch["weights"]),
    )
