"""Fixtures of the loop's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.station.stop()
    assert not made.station.loop.alive


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, stall_s=0.4)
    yield made
    made.station.stop()
    assert not made.station.loop.alive
