from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from exporter.models import default_model
from gcs.cli import main
from gcs.compose import choose_model
from gcs.settings import load_settings
from model.errors import InputError, MissingExtraError, ModelFileError
from tests.fakes import MovingSource
from tests.serving import in_memory, make_station, wait_until

REPO = Path(__file__).resolve().parents[2]


def shipped() -> bool:
    try:
        default_model()
    except ModelFileError:
        return False
    return True


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    assert main(["serve", *flags]) == 2
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    assert line.startswith("mlkd serve: ")
    return line


def test_a_source_whose_name_is_no_text(tmp_path: Path) -> None:
    source = MovingSource()
    source.name = "v\udcff.mp4"
    station = make_station(tmp_path, source)
    with in_memory(station) as client:
        wait_until(lambda: station.hub.latest_picture)
        answer = client.get("/api/status")
    assert answer.status_code == 200
    assert answer.json()["source"] == "v\\udcff.mp4"
    station.feed.name.encode("utf-8")


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refused(capsys, "--port", port)
    assert f"port {port}" in line
    assert "and a free port" in line


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--host", "0.0.0.0"), "expected a token"),
        (("--host", "192.0.2.1", "--token", "0123456789abcdef"), "--allow-plain-http"),
        (("--host", "not a host", "--token", "0123456789abcdef", "--allow-plain-http"), "cannot"),
        (("--port", "70000"), "--port is 70000"),
        (("--source", "absent.mp4"), "absent.mp4"),
        (("--source", "http://192.0.2.1/x"), "is not allowed"),
        (("--source", "simulator:mars"), "mars"),
        (("--decoder", "abacus"), "'abacus' cannot be used"),
        (("--engine", "abacus"), "expected one of auto"),
        (("--model", "absent"), "absent"),
        (("--config", "absent.yaml"), "absent.yaml"),
        (("--flights-dir", __file__), "flights cannot be logged in"),
        (("--flights-dir", f"{__file__}/flights"), "give another folder with --flights-dir"),
    ],
)
def test_mistakes_are_told_in_one_line(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], said: str
) -> None:
    assert said in refused(capsys, "--port", "0", *flags)


def test_a_drone_without_its_sdk_names_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> None:
        raise MissingExtraError("parrot-olympe", "olympe")

    monkeypatch.setattr("drone.olympe_sdk.check_installed", absent)
    line = refused(capsys, "--port", "0", "--source", "olympe:192.168.42.1")
    assert "pip install 'mlkd-track[olympe]'" in line


def test_a_damaged_file_is_no_video(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\x00\x00\x00\x18ftypmp42 and then nothing of use")
    model = str(tmp_path)
    assert "broken.mp4" in refused(capsys, "--port", "0", "--source", str(broken), "--model", model)


def test_a_path_as_engine_names_the_model(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.mkdir()
    assert choose_model(load_settings({"engine": str(path)})) == (path, "auto")
    assert choose_model(load_settings({"engine": "openvino", "model": path})) == (path, "openvino")
    with pytest.raises(InputError, match="both --model"):
        choose_model(load_settings({"engine": str(path), "model": path}))


def call(address: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address + path, data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        result: dict[str, Any] = json.load(answer)
        return result


@pytest.mark.skipif(not shipped(), reason="no model ships yet")
def test_the_whole_station_tracks_on_the_simulator_and_stops(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gcs.cli", "serve", "--port", "0"]
    command += ["--flights-dir", str(tmp_path / "flights")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLKD_")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=REPO, env=environment
    ) as station:
        try:
            assert station.stdout is not None
            first = station.stdout.readline()
            assert first.startswith("MLKD-Track on http://127.0.0.1:"), first
            address = first.split()[-1].rstrip("/")
            wait_until(lambda: picture_of(address), 90)
            started = start_on_truth(address)
            folder = tmp_path / "flights" / started["flight_id"]
            track = folder / "track.jsonl"
            wait_until(lambda: track.read_text().count("\n") >= 10, 60)
        finally:
            station.send_signal(signal.SIGINT)
        assert station.wait(20) == 0
    lines = [json.loads(line) for line in track.read_text().splitlines()]
    assert any(line["truth"] for line in lines)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert len(manifest["engine_sha256"]) == 64
    assert manifest["ended_at"]


def picture_of(address: str) -> bool:
    try:
        return call(address, "/api/status")["frame_id"] is not None
    except OSError:
        return False


def start_on_truth(address: str) -> dict[str, Any]:
    """Start in the middle of the picture, where the simulator's pilot keeps its target."""
    end = time.monotonic() + 30
    while True:
        try:
            return call(address, "/api/tracking/start", {"point": [0.5, 0.5], "units": "fraction"})
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
