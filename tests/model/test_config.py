from __future__ import annotations

from typing import Any

import pytest

from model.config import TrackerConfig
from model.errors import ConfigError


def test_defaults_are_the_release_test_values() -> None:
    config = TrackerConfig()
    assert (config.penalty_k, config.window_influence, config.size_lr) == (0.14, 0.428, 0.30)
    assert (config.template_px, config.search_px, config.score_size) == (127, 287, 21)
    assert config.anchors_per_cell == 5


def test_a_mapping_may_hold_lists_and_whole_numbers() -> None:
    config = TrackerConfig.from_mapping({"anchor_ratios": [0.5, 1, 2], "anchor_scale": 8})
    assert config.anchor_ratios == (0.5, 1, 2)
    assert isinstance(config.anchor_scale, float)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"window_influense": 0.4}, "did you mean 'window_influence'"),
        ({"zzz": 1}, "known: template_px"),
        ({"window_influence": 1.4}, "window_influence is 1.4"),
        ({"stride": "8"}, "stride is '8': expected a value of type int"),
        ({"stride": True}, "stride is True"),
        ({"stride": 0}, "stride is 0"),
        ({"penalty_k": float("nan")}, "penalty_k is nan"),
        ({"anchor_ratios": []}, "anchor_ratios"),
        ({"anchor_ratios": [1, -2]}, "anchor_ratios"),
        ({"anchor_ratios": ["1", 2]}, "anchor_ratios is .*: expected a value of type tuple"),
        ({"anchor_ratios": [1, None]}, "anchor_ratios"),
        ({"anchor_ratios": [True]}, "anchor_ratios"),
        ({"anchor_ratios": [1, float("inf")]}, "anchor_ratios"),
        ({"anchor_scale": -8.0}, "anchor_scale"),
        ({"anchor_scale": float("inf")}, "anchor_scale"),
    ],
)
def test_an_impossible_setting_is_named(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        TrackerConfig.from_mapping(values)
