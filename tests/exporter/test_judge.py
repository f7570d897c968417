"""Int8 is judged by tracking: on the same frames, by day and as night, and refused if worse."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter import judge
from exporter.calibration import calibration_pairs
from exporter.export import export_model
from exporter.manifest import open_model
from exporter.network import LoadedNetwork
from exporter.parity import ParityError
from model.config import TrackerConfig
from model.evaluation.sequences import DARKENED, DAY, find_video_sequences
from model.nets.baselines import Network
from tests.fakes import BrightnessBackend


def test_videos_are_taken_by_day_and_as_night(videos: Path) -> None:
    found = find_video_sequences(videos)
    chosen = judge.choose(found, most=2, frames=5)
    assert [(s.name, s.condition, len(s)) for s in chosen] == [
        ("a", DAY, 5), ("c", DAY, 5), ("a", DARKENED, 5), ("c", DARKENED, 5)
    ]  # fmt: skip
    assert judge.choose([]) == []


def test_engines_are_scored_on_the_same_frames(videos: Path) -> None:
    first, second = judge.mean_auc(
        [BrightnessBackend(), BrightnessBackend()], find_video_sequences(videos)[:1]
    )
    assert first == second
    assert 0.0 < first <= 1.0


def test_the_limit() -> None:
    judge.check_auc(0.600, 0.591)
    judge.check_auc(0.600, 0.700)
    with pytest.raises(
        ParityError, match=r"is 0.5890, that of the whole network 0.6000: .*at most 0.01"
    ):
        judge.check_auc(0.600, 0.589)
    with pytest.raises(ParityError, match="nan"):
        judge.check_auc(0.6, float("nan"))


@pytest.mark.parametrize("int8_auc", [0.595, 0.4])
def test_int8_is_exported_only_if_it_tracks_as_well(
    fp32_folder: Path,
    network: Network,
    videos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    int8_auc: float,
) -> None:
    import onnx

    model = open_model(fp32_folder)
    graphs = onnx.load(model.template_path), onnx.load(model.search_path)
    loaded = LoadedNetwork(network, TrackerConfig(), {"checkpoint": "random.pt"})
    engines: list[str] = []

    def mean_auc(backends: list[judge.Backend], sequences: list[judge.Sequence]) -> list[float]:
        engines.extend(backend.name for backend in backends)
        assert len(sequences) == 6
        return [0.6, int8_auc]

    monkeypatch.setattr(
        "exporter.export.calibration_pairs",
        lambda folder, config: calibration_pairs(folder, config, count=2),
    )
    monkeypatch.setattr("exporter.export.load_network", lambda _: loaded)
    monkeypatch.setattr("exporter.export.make_graphs", lambda *_: graphs)
    monkeypatch.setattr("exporter.export.mean_auc", mean_auc)
    out = tmp_path / "out"
    if int8_auc > 0.59:
        parity = export_model(tmp_path / "w.pt", out, "int8", videos).manifest.parity
        assert parity["auc_fp32"] == 0.6
        assert parity["auc_int8"] == int8_auc
    else:
        with pytest.raises(ParityError, match="nothing was exported"):
            export_model(tmp_path / "w.pt", out, "int8", videos)
        assert not out.exists()
    assert engines[0].startswith("openvino-f32 (fp32, fp32 model")
    assert "(int8, int8 model" in engines[1]
