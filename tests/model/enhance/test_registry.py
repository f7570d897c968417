"""The enhancers by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.enhance.registry import ENHANCERS, build_enhancer
from model.errors import ConfigError, ModelFileError


@pytest.mark.parametrize("name", sorted(ENHANCERS))
def test_every_enhancer_keeps_the_shape_and_the_range(name, night):
    torch.manual_seed(0)
    enhancer = ENHANCERS[name]().eval()
    with torch.no_grad():
        lit = enhancer(night)
    assert lit.shape == night.shape
    assert 0.0 <= lit.min() <= lit.max() <= 1.0


@pytest.mark.parametrize(
    "name", sorted(n for n in ENHANCERS if n not in ("gamma", "clahe", "retinex"))
)
def test_a_network_without_weights_is_refused(name):
    with pytest.raises(ConfigError, match="needs a weight file"):
        build_enhancer(name)


def test_a_classical_one_with_weights_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="takes no weight file"):
        build_enhancer("clahe", tmp_path / "any.pth")


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'darklighter'"):
        build_enhancer("darklight")


def test_a_missing_file_is_named():
    with pytest.raises(ModelFileError, match="no-such-file"):
        build_enhancer("sci", Path("no-such-file.pt"))


def test_it_comes_frozen_and_leaves_the_random_numbers_alone(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(ENHANCERS["darklighter"]().state_dict(), path)
    torch.manual_seed(9)
    wanted = torch.rand(3)
    torch.manual_seed(9)
    enhancer = build_enhancer("darklighter", path)
    assert torch.equal(torch.rand(3), wanted)
    assert not enhancer.training
    assert not any(p.requires_grad for p in enhancer.parameters())
