from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest

from drone import decoding
from drone.decoding import choose_decoder, open_options
from drone.errors import SourceError
from drone.sources import open_source
from tests.drone.media import number_of, write_video


def test_without_a_wish_the_cpu_decodes() -> None:
    assert choose_decoder("cpu") == "cpu"
    assert open_options("cpu") == {}


def test_auto_takes_the_first_device_that_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_known_devices", lambda: ["cuda", "vaapi", "qsv"])
    monkeypatch.setattr(decoding, "_refusal", lambda name: "none here" if name == "cuda" else None)
    assert choose_decoder("auto") == "vaapi"
    monkeypatch.setattr(decoding, "_refusal", lambda _name: "none here")
    assert choose_decoder("auto") == "cpu"


def test_a_device_that_cannot_be_opened_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_known_devices", lambda: ["cuda", "vaapi"])
    monkeypatch.setattr(decoding, "_refusal", lambda _name: "no such file")
    with pytest.raises(SourceError, match=r"decoder 'cuda' cannot be used \(no such file\)"):
        choose_decoder("cuda")
    with pytest.raises(SourceError, match=r"'abacus' .*unknown.*expected cpu, auto .*cuda, vaapi"):
        open_source("simulator", decoder="abacus")


def test_a_file_plays_with_whatever_auto_finds_here(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "v.mp4", frames=4)), decoder="auto")
    source.open()
    frames = [source.read(1.0) for _ in range(4)]
    source.close()
    assert [number_of(frame.image) for frame in frames if frame is not None] == [0, 1, 2, 3]


@pytest.mark.parametrize("spec", ["rtsp://127.0.0.1:9/live", "webcam:7", "{video}"])
def test_the_device_reaches_every_kind_of_video(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def refuse(*_: object, **options: Any) -> None:
        asked.append(options)
        raise OSError("enough seen")

    device = object()
    monkeypatch.setattr(decoding, "_known_devices", lambda: ["cuda"])
    monkeypatch.setattr(decoding, "_refusal", lambda _name: None)
    monkeypatch.setattr(decoding, "_device", lambda _name: device)
    video = write_video(tmp_path / "v.mp4", frames=1)
    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(SourceError):
        open_source(spec.format(video=video), decoder="cuda").open()
    assert [options["hwaccel"] for options in asked] == [device]
