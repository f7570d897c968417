"""The mutual-learning room: peaks, persuasive values, the election and its loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import ShapeError
from model.nets.siamrpn import SiamRPN
from model.training.mutual import (
    count_wins,
    elect,
    local_maxima,
    mutual_losses,
    persuasive_values,
    score_margins,
)

ANCHORS = 5


def logits(peaks: dict[tuple[int, int], float], side: int = 9, rest: float = 0.01) -> torch.Tensor:
    """Logits [1 x 2k x side x side] whose score map has the given scores, as narrow bumps."""
    rows, cols = np.mgrid[0:side, 0:side]
    score = np.full((side, side), rest)
    for (row, col), height in peaks.items():
        distance = np.maximum(abs(rows - row), abs(cols - col))
        score = np.maximum(score, height * 0.5**distance)
    margin = torch.from_numpy(np.log(score / (1 - score))).float()
    cls = torch.zeros(1, 2 * ANCHORS, side, side)
    cls[0, ANCHORS:] = -8.0
    cls[0, ANCHORS + 2] = margin  # the third anchor has the best score
    return cls


def test_score_margins_take_the_best_anchor_of_each_cell():
    cls = torch.zeros(1, 4, 1, 2)
    cls[0, :, 0, 0] = torch.tensor([1.0, 0.0, 3.0, 1.5])  # margins 2 and 1.5
    cls[0, :, 0, 1] = torch.tensor([1.0, 0.0, 0.0, 4.0])  # margins -1 and 4
    assert score_margins(cls).tolist() == [[[2.0, 4.0]]]


def test_local_maxima_are_found_in_two_dimensions():
    # Along the flattened vector 5 and 4 of neighbouring rows would be two peaks.
    maps = torch.tensor([[0, 0, 0, 0, 0], [0, 5, 1, 0, 0], [0, 4, 1, 0, 3], [0, 0, 0, 0, 0.0]])
    peaks = local_maxima(maps.unsqueeze(0))[0]
    found = {(r, c) for r, c in peaks.nonzero().tolist() if maps[r, c] > 0}
    assert found == {(1, 1), (2, 4)}


def test_equal_touching_cells_are_one_peak():
    maps = torch.zeros(1, 5, 5)
    maps[0, 1, 1] = maps[0, 1, 2] = maps[0, 2, 2] = 7.0
    peaks = local_maxima(maps)[0]
    assert [(r, c) for r, c in peaks.nonzero().tolist() if maps[0, r, c] == 7.0] == [(2, 2)]


def test_persuasive_value_is_the_ratio_of_the_two_highest_peaks():
    value = persuasive_values(logits({(2, 2): 0.9, (6, 6): 0.3, (2, 7): 0.1}))
    assert value.item() == pytest.approx(3.0, rel=1e-5)


def test_the_order_of_the_peaks_does_not_matter():
    early = persuasive_values(logits({(1, 1): 0.8, (6, 6): 0.2}))
    late = persuasive_values(logits({(1, 1): 0.2, (6, 6): 0.8}))
    assert early.item() == pytest.approx(4.0, rel=1e-5)
    assert late.item() == pytest.approx(4.0, rel=1e-5)


def test_one_peak_is_infinitely_persuasive():
    assert persuasive_values(logits({(4, 4): 0.6}, rest=1e-9)).item() == math.inf


def test_a_flat_map_persuades_nobody():
    assert persuasive_values(torch.zeros(2, 10, 7, 7)).tolist() == [1.0, 1.0]


def test_saturated_scores_keep_their_order():
    cls = logits({(2, 2): 0.9, (6, 6): 0.9})
    cls[0, ANCHORS + 2] *= 40  # both scores are 1.0 in float32
    assert persuasive_values(cls).item() == pytest.approx(1.0)


def test_values_belong_to_each_sample_alone():
    one = logits({(2, 2): 0.9, (6, 6): 0.3})
    two = logits({(3, 3): 0.8, (7, 7): 0.1})
    apart = torch.cat([persuasive_values(one), persuasive_values(two)])
    torch.testing.assert_close(persuasive_values(torch.cat([one, two])), apart)


def test_election_is_per_sample():
    sure, unsure = logits({(2, 2): 0.9, (6, 6): 0.1}), logits({(2, 2): 0.5, (6, 6): 0.4})
    first, second = torch.cat([sure, unsure]), torch.cat([unsure, sure])
    assert elect([first, second]).tolist() == [0, 1]
    assert elect([second, first]).tolist() == [1, 0]


def test_one_peak_beats_any_ratio():
    single, double = logits({(4, 4): 0.3}, rest=1e-9), logits({(2, 2): 0.9, (6, 6): 0.2})
    assert elect([double, single]).tolist() == [1]


def test_of_students_with_one_peak_the_highest_wins():
    low, high = logits({(4, 4): 0.3}, rest=1e-9), logits({(4, 4): 0.6}, rest=1e-9)
    assert elect([low, high, low]).tolist() == [1]


def test_wins_are_counted_for_every_student():
    assert count_wins(torch.tensor([2, 0, 2, 2]), 4).tolist() == [1, 0, 3, 0]


def test_mutual_loss_by_hand():
    # Two samples, three students, maps of two pixels; student 1 wins the first, 0 the second.
    maps = [
        torch.tensor([[1.0, 1.0], [0.0, 0.0]]).reshape(2, 2, 1, 1),
        torch.tensor([[0.0, 0.0], [2.0, 0.0]]).reshape(2, 2, 1, 1),
        torch.tensor([[3.0, 0.0], [0.0, 4.0]]).reshape(2, 2, 1, 1),
    ]
    shares = mutual_losses(maps, torch.tensor([1, 0]))
    by_sample = [[1.0, 0.0], [0.0, 2.0], [4.5, 8.0]]  # MSE to the winner, student x sample
    assert shares.tolist() == pytest.approx([sum(row) / 2 / 3 for row in by_sample])


def test_mutual_loss_agrees_with_equation_5():
    generator = torch.Generator().manual_seed(3)
    maps = [torch.randn(4, 3, 5, 5, generator=generator) for _ in range(3)]
    winners = torch.tensor([2, 0, 1, 2])
    wanted = 0.0
    for sample, winner in enumerate(winners.tolist()):
        others = [m[sample].numpy() for i, m in enumerate(maps) if i != winner]
        best = maps[winner][sample].numpy()
        wanted += sum(np.mean((best - other) ** 2) for other in others) / 3 / 4
    assert mutual_losses(maps, winners).sum().item() == pytest.approx(wanted, rel=1e-5)


def test_equal_students_have_no_mutual_loss():
    maps = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    shares = mutual_losses([maps, maps.clone()], torch.tensor([0, 1]))
    assert shares.tolist() == [0.0, 0.0]


def test_the_winner_of_a_sample_gets_no_gradient_from_it():
    generator = torch.Generator().manual_seed(2)
    maps = [torch.randn(2, 3, 5, 5, generator=generator).requires_grad_() for _ in range(3)]
    winners = torch.tensor([1, 2])
    mutual_losses(maps, winners).sum().backward()
    for student, own in enumerate(maps):
        assert own.grad is not None
        for sample, winner in enumerate(winners.tolist()):
            gradient = own.grad[sample].abs().max().item()
            assert math.isfinite(gradient)
            assert (gradient > 0) == (student != winner)


def test_gradient_reaches_every_part_before_the_correlation():
    torch.manual_seed(0)
    net = SiamRPN()
    zf = net.backbone(torch.rand(2, 3, 127, 127) * 255)
    xf = net.backbone(torch.rand(2, 3, 255, 255) * 255)
    branches = (net.rpn_head.cls, net.rpn_head.loc)
    own = torch.cat([b.correlate(xf, b.kernel(zf)) for b in branches], 1)
    other = torch.roll(own.detach(), 3, dims=3)
    mutual_losses([own, other], torch.tensor([1, 1])).sum().backward()
    for name, parameter in net.named_parameters():
        if ".head." in name:
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_a_single_student_is_refused():
    with pytest.raises(ShapeError, match="two students or more"):
        elect([torch.zeros(1, 10, 5, 5)])
    with pytest.raises(ShapeError, match="two students or more"):
        mutual_losses([torch.zeros(1, 3, 5, 5)], torch.tensor([0]))


def test_maps_of_different_shape_are_refused():
    with pytest.raises(ShapeError, match="one shape"):
        mutual_losses([torch.zeros(1, 3, 5, 5), torch.zeros(1, 4, 5, 5)], torch.tensor([0]))
    with pytest.raises(ShapeError, match="batches differ"):
        elect([torch.zeros(1, 10, 5, 5), torch.zeros(2, 10, 5, 5)])


@settings(max_examples=40)
@given(st.integers(2, 5), st.integers(1, 3), st.integers(0, 10_000))
def test_values_are_at_least_one_and_winners_are_students(students, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    cls = [torch.randn(batch, 10, 7, 7, generator=generator) * 4 for _ in range(students)]
    for one in cls:
        assert (persuasive_values(one) >= 1.0).all()
    winners = elect(cls)
    assert winners.shape == (batch,)
    assert int(count_wins(winners, students).sum()) == batch
