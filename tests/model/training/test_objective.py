"""The sum of the losses (Eq. 6), its weights, forms and conditions."""

from __future__ import annotations

import pytest
import torch

from model.errors import ConfigError, ShapeError
from model.nets.outputs import PairOutputs, align_outputs
from model.training.distill import crl_l2_loss, crl_threshold_loss, kd_cls_loss, kd_loc_loss
from model.training.objective import (
    DistillConfig,
    LossTerms,
    correlation_loss,
    kd_losses,
    total_loss,
)


def outputs(seed: int, channels: int = 6, side: int = 5) -> PairOutputs:
    generator = torch.Generator().manual_seed(seed)
    return PairOutputs(
        *(torch.randn(2, c, side, side, generator=generator) for c in (10, 20, channels, channels))
    )


def scalars(*values: float) -> list[torch.Tensor]:
    return [torch.tensor(v) for v in values]


def test_the_weights_of_the_paper():
    terms = LossTerms(*scalars(0.5, 0.25, 0.001, 0.002, 3.0, 0.1))
    wanted = 1.0 * (0.5 + 0.25) + 1000 * (0.001 + 0.002) + 0.2 * 3.0 + 20 * 0.1
    assert total_loss(terms, DistillConfig()).item() == pytest.approx(wanted)


def test_every_term_has_its_own_weight():
    terms = LossTerms(*scalars(1.0, 2.0, 4.0, 8.0, 16.0, 32.0))
    config = DistillConfig(
        base_weight=0.5, kd_weight=0.25, correlation_weight=0.0, mutual_weight=2.0
    )
    assert total_loss(terms, config).item() == pytest.approx(0.5 * 3 + 0.25 * 12 + 64)


def test_knowledge_distillation_applies_always_by_default():
    s, t = outputs(1), outputs(2)
    got = kd_losses(s, t, DistillConfig(), scalars(0.1, 0.1), scalars(9.0, 9.0))
    torch.testing.assert_close(got[0], kd_cls_loss(s.cls, t.cls))
    torch.testing.assert_close(got[1], kd_loc_loss(s.loc, t.loc))


def test_knowledge_distillation_may_wait_for_a_better_teacher_per_branch():
    config = DistillConfig(kd_when="when_teacher_better")
    got = kd_losses(outputs(1), outputs(2), config, scalars(0.1, 0.5), scalars(0.3, 0.5))
    assert got[0].item() == 0.0
    assert got[1].item() > 0.0


def test_correlation_compares_both_branches():
    s, t = outputs(1), outputs(2)
    parts = [
        crl_l2_loss(s.correlation_cls, t.correlation_cls),
        crl_l2_loss(s.correlation_loc, t.correlation_loc),
    ]
    got = correlation_loss("l2", s, t, DistillConfig())
    torch.testing.assert_close(got, torch.stack(parts).mean())
    got = correlation_loss("l2", s, t, DistillConfig(maps="cls"))
    torch.testing.assert_close(got, parts[0])


def test_forms_reach_the_loss():
    s, t = outputs(1), outputs(2)
    config = DistillConfig(threshold_gradient="sigmoid", maps="cls")
    wanted = crl_threshold_loss(s.correlation_cls, t.correlation_cls, gradient="sigmoid")
    torch.testing.assert_close(correlation_loss("threshold", s, t, config), wanted)
    config = DistillConfig(correlation_form="release", maps="cls")
    wanted = crl_l2_loss(s.correlation_cls, t.correlation_cls, form="release")
    torch.testing.assert_close(correlation_loss("l2", s, t, config), wanted)


def test_a_student_may_go_without():
    assert correlation_loss("none", outputs(1), outputs(2), DistillConfig()).item() == 0.0


def test_a_narrow_student_is_compared_by_the_mean_over_channels():
    s, t = outputs(1, channels=4), outputs(2, channels=6)
    wanted = crl_l2_loss(s.correlation_cls.mean(1, True), t.correlation_cls.mean(1, True))
    got = correlation_loss("l2", s, t, DistillConfig(maps="cls"))
    torch.testing.assert_close(got, wanted)


def test_a_larger_map_is_cut_to_its_centre():
    big = outputs(1, side=9)
    cut = align_outputs(big, 5)
    for whole, part in zip(big, cut, strict=True):
        torch.testing.assert_close(part, whole[..., 2:7, 2:7])
    assert align_outputs(big, 9) is big
    with pytest.raises(ShapeError, match="cannot be cut"):
        align_outputs(big, 6)
    with pytest.raises(ShapeError, match="cannot be cut"):
        align_outputs(big, 11)


def test_maps_of_another_size_are_refused():
    with pytest.raises(ShapeError, match="align"):
        correlation_loss("l2", outputs(1), outputs(2, side=7), DistillConfig())


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"kd_weight": -1.0}, "kd_weight"),
        ({"kd_form": "papers"}, "kd_form"),
        ({"maps": "loc"}, "maps"),
        ({"tau": 3.0}, "tau"),
    ],
)
def test_settings_that_do_not_fit_are_named(setting, named):
    with pytest.raises(ConfigError, match=named):
        DistillConfig.from_mapping(setting)


def test_an_unknown_loss_is_named():
    with pytest.raises(ConfigError, match=r"'l1'.*l2, spatial, threshold, none"):
        correlation_loss("l1", outputs(1), outputs(2), DistillConfig())
