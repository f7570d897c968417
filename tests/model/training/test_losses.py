from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from model.training.losses import (  # noqa: E402
    add_hard_negatives,
    base_losses,
    classification_loss,
    flatten_cls,
    regression_loss,
)
from model.training.targets import CANDIDATE, IGNORED, NEGATIVE, POSITIVE  # noqa: E402


def logits(rows: list[list[float]]) -> torch.Tensor:
    """[1 x 2 x N] from background and target rows."""
    return torch.tensor(rows)[None].requires_grad_()


def test_classification_loss_by_hand() -> None:
    cls = logits([[0.0, 0.0, 0.0], [0.0, math.log(3.0), 9.0]])
    labels = torch.tensor([[POSITIVE, NEGATIVE, IGNORED]], dtype=torch.int8)
    wanted = 0.5 * math.log(2.0) + 0.5 * math.log(4.0)
    assert float(classification_loss(cls, labels).detach()) == pytest.approx(wanted)


def test_classification_loss_vanishes_for_sure_and_right_answers() -> None:
    cls = logits([[-40.0, 40.0], [40.0, -40.0]])
    labels = torch.tensor([[POSITIVE, NEGATIVE]], dtype=torch.int8)
    assert float(classification_loss(cls, labels).detach()) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("label", [POSITIVE, NEGATIVE, IGNORED])
def test_classification_loss_is_finite_without_a_kind(label: int) -> None:
    cls = logits([[0.1, 0.2], [0.3, 0.4]])
    loss = classification_loss(cls, torch.full((1, 2), label, dtype=torch.int8))
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert cls.grad is not None
    assert bool(cls.grad.abs().sum() > 0) == (label != IGNORED)


def test_regression_loss_by_hand_and_zero_at_equality() -> None:
    wanted = torch.randn(2, 4, 3)
    weights = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    assert float(regression_loss(wanted, wanted, weights)) == 0.0
    assert float(regression_loss(wanted + 0.25, wanted, weights)) == pytest.approx(1.0)


def test_both_losses_have_gradient_and_only_where_they_should() -> None:
    cls = torch.randn(2, 10, 17, 17, requires_grad=True)
    loc = torch.randn(2, 20, 17, 17, requires_grad=True)
    count = 5 * 17 * 17
    labels = torch.full((2, count), IGNORED, dtype=torch.int8)
    labels[:, 7], labels[:, 30] = POSITIVE, NEGATIVE
    weights = torch.zeros(2, count)
    weights[:, 7] = 1.0
    batch = {"labels": labels, "deltas": torch.zeros(2, 4, count), "weights": weights}
    losses = base_losses(cls, loc, batch, hard=0)
    (losses.cls + losses.loc).backward()
    assert cls.grad is not None
    assert loc.grad is not None
    touched = cls.grad.reshape(2, 2, count).abs().sum((0, 1)).nonzero().ravel().tolist()
    assert touched == [7, 30]
    assert loc.grad.reshape(2, 4, count).abs().sum((0, 1)).nonzero().ravel().tolist() == [7]


def test_flattening_keeps_the_order_of_the_anchors() -> None:
    cls = torch.arange(2 * 5 * 3 * 3).reshape(1, 10, 3, 3).float()
    flat = flatten_cls(cls)
    anchor, row, column = 2, 1, 0
    assert float(flat[0, 1, anchor * 9 + row * 3 + column]) == float(
        cls[0, 5 + anchor, row, column]
    )


def test_hard_negatives_are_the_candidates_with_the_highest_score() -> None:
    cls = torch.zeros(1, 2, 5)
    cls[0, 1] = torch.tensor([5.0, 1.0, 4.0, 3.0, 2.0])
    labels = torch.tensor([[POSITIVE, CANDIDATE, CANDIDATE, IGNORED, CANDIDATE]], dtype=torch.int8)
    added = add_hard_negatives(cls, labels, 2)
    assert added.tolist() == [[POSITIVE, CANDIDATE, NEGATIVE, IGNORED, NEGATIVE]]
    assert add_hard_negatives(cls, labels, 5).tolist() == [
        [POSITIVE, NEGATIVE, NEGATIVE, IGNORED, NEGATIVE]
    ]
    assert labels[0, 2] == CANDIDATE
