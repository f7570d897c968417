from __future__ import annotations

import gc
from pathlib import Path

import pytest

from gcs import app
from tests.serving import make_station


def test_what_is_loaded_before_serving_is_not_walked_through_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = []
    monkeypatch.setattr(
        app.Server, "run", lambda _self, sockets: frozen.append(gc.get_freeze_count())
    )
    station = make_station(tmp_path)
    before = gc.get_freeze_count()
    try:
        with app.listen(station.settings) as listener:
            app.serve(station, listener)
    finally:
        gc.unfreeze()
    assert frozen[0] > before + 10_000
