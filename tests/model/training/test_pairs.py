from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from model.anchors import make_anchors  # noqa: E402
from model.config import TrackerConfig  # noqa: E402
from model.decode import decode_boxes  # noqa: E402
from model.errors import InputError  # noqa: E402
from model.training.augment import View, native_side_px, render  # noqa: E402
from model.training.config import TrainConfig  # noqa: E402
from model.training.pairs import PairDataset, _sample_views  # noqa: E402
from model.training.sources import DataReport  # noqa: E402
from model.training.store import (  # noqa: E402
    Crop,
    CropStore,
    _fingerprint,
    build_store,
    members,
)

PLAIN = {"colour": 0.0, "grey": 0.0, "blur": 0.0, "low_resolution": 0.0, "rotation_deg": 0.0}
NO_NIGHT = {"probability": 0.0}


def make_data(root: Path, frames: int = 6) -> None:
    """A sequence with a bright square that moves, and an image with two squares."""
    folder = root / "seq" / "a"
    folder.mkdir(parents=True)
    lines = []
    for number in range(frames):
        image = np.full((240, 320, 3), 40, np.uint8)
        x, y = 100 + 12 * number, 90 + 5 * number
        cv2.rectangle(image, (x, y), (x + 39, y + 29), (250, 250, 250), -1)
        cv2.imwrite(str(folder / f"{number}.png"), image)
        lines.append(f"{x},{y},40,30")
    (folder / "groundtruth.txt").write_text("\n".join(lines))
    (root / "still").mkdir()
    image = np.full((240, 320, 3), 40, np.uint8)
    image[60:90, 60:90] = 250
    image[60:90, 200:230] = (0, 0, 250)
    cv2.imwrite(str(root / "still" / "a.png"), image)
    boxes = [[60, 60, 30, 30], [200, 60, 30, 30]]
    entry = {"file": "a.png", "size": [320, 240], "boxes": boxes}
    (root / "still" / "annotations.json").write_text(json.dumps([entry]))


def make_config(kind: str, path: str, **sections: object) -> TrainConfig:
    return TrainConfig.from_mapping({"sources": [{"kind": kind, "path": path}], **sections})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    make_data(root)
    return root


def dataset(config: TrainConfig, root: Path, folder: Path) -> PairDataset:
    build_store(config, root, folder, DataReport())
    return PairDataset(config, folder)


@pytest.mark.parametrize("turn", [0.0, 1.0])
@pytest.mark.parametrize("kind_path", [("sequences", "seq"), ("boxes", "still")])
def test_the_deltas_point_at_the_target_that_is_seen(
    root: Path, tmp_path: Path, kind_path: tuple[str, str], turn: float
) -> None:
    pairs = {"negative": 0.0}
    augment = PLAIN | {"turn": turn}
    config = make_config(*kind_path, augment=augment, night=NO_NIGHT, pairs=pairs)
    data = dataset(config, root, tmp_path)
    anchors = make_anchors(TrackerConfig(), 17)
    for number in range(24):
        sample = data[number]
        cx, cy, w, h = decode_boxes(sample["deltas"], anchors)[:, 0]
        assert sample["z"].shape == (127, 127, 3)
        assert sample["x"].shape == (255, 255, 3)
        bright = sample["x"].max(2) > 150
        ys, xs = np.nonzero(bright)
        inside = (abs(xs + 0.5 - 127.5 - cx) < w / 2 + 2) & (abs(ys + 0.5 - 127.5 - cy) < h / 2 + 2)
        area = int(inside.sum())
        assert area == pytest.approx(w * h, rel=0.12), number
        assert xs[inside].mean() + 0.5 - 127.5 == pytest.approx(cx, abs=1.5)
        assert ys[inside].mean() + 0.5 - 127.5 == pytest.approx(cy, abs=1.5)


def test_a_number_always_yields_the_same_pair(root: Path, tmp_path: Path) -> None:
    config = make_config("sequences", "seq")
    first = dataset(config, root, tmp_path)[5]
    again = PairDataset(config, tmp_path)[5]
    other = PairDataset(config, tmp_path)[6]
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert (first["x"] != other["x"]).any()


def test_sequences_are_stretched_where_that_is_asked(root: Path, tmp_path: Path) -> None:
    def ratios(**augment: object) -> set[float]:
        config = make_config(
            "sequences", "seq", night=NO_NIGHT, augment={**PLAIN, "flip": 0.0, **augment}
        )
        data = dataset(config, root, tmp_path / str(len(augment)))
        anchors = make_anchors(TrackerConfig(), 17)
        found = set()
        for number in range(12):
            sample = data[number]
            anchor = int(np.argmax(sample["labels"] == 1))
            if sample["labels"][anchor] == 1:
                dw, dh = sample["deltas"][2:, anchor]
                w, h = anchors[anchor, 2] * np.exp(dw), anchors[anchor, 3] * np.exp(dh)
                found.add(round(float(w / h), 2))
        return found

    assert ratios(stretch=0.0) == {round(40 / 30, 2)}
    stretched = ratios(stretch=0.3, stretch_sequences=True)
    assert min(stretched) < 1.2
    assert max(stretched) > 1.5
    assert all(40 / 30 * np.exp(-0.61) <= r <= 40 / 30 * np.exp(0.61) for r in stretched)


def test_the_clean_crops_show_the_same_before_night_fell(root: Path, tmp_path: Path) -> None:
    dark = make_config("sequences", "seq", night={"probability": 1.0}, pairs={"clean": True})
    sample = dataset(dark, root, tmp_path)[5]
    assert sample["x_clean"].shape == sample["x"].shape
    assert sample["x"].mean() < 0.6 * sample["x_clean"].mean()
    day = make_config("sequences", "seq", night=NO_NIGHT, pairs={"clean": True})
    sample = PairDataset(day, tmp_path)[5]
    np.testing.assert_array_equal(sample["z"], sample["z_clean"])
    np.testing.assert_array_equal(sample["x"], sample["x_clean"])


def test_negative_pairs_have_no_positive_anchor(root: Path, tmp_path: Path) -> None:
    config = make_config("boxes", "still", pairs={"negative": 1.0, "distractor": 1.0})
    data = dataset(config, root, tmp_path)
    for number in range(8):
        pair = data.draw(np.random.default_rng(number))
        assert pair.negative
        assert (pair.template.left, pair.template.cx) != (pair.search.left, pair.search.cx)
        assert (data[number]["labels"] == 1).sum() == 0


def test_a_gap_limits_the_distance_of_the_frames(root: Path, tmp_path: Path) -> None:
    config = make_config("sequences", "seq", pairs={"negative": 0.0, "max_gap_frames": 1})
    data = dataset(config, root, tmp_path)
    lefts = sorted({float(r["left"]) for r in CropStore(tmp_path).records})
    for number in range(20):
        pair = data.draw(np.random.default_rng(number))
        gap = abs(lefts.index(pair.template.left) - lefts.index(pair.search.left))
        assert gap <= 1


def test_images_without_boxes_make_pairs(root: Path, tmp_path: Path) -> None:
    config = make_config("images", "seq/a", pairs={"negative": 0.0})
    sample = dataset(config, root, tmp_path)[0]
    assert np.isfinite(sample["deltas"]).all()
    assert sample["x"].shape == (255, 255, 3)


def test_the_store_is_cut_once_and_anew_when_data_changes(root: Path, tmp_path: Path) -> None:
    config = make_config("boxes", "still")
    build_store(config, root, tmp_path, DataReport())
    written = (tmp_path / "crops.bin").stat().st_mtime_ns
    store = build_store(config, root, tmp_path, DataReport())
    assert (tmp_path / "crops.bin").stat().st_mtime_ns == written
    assert len(store) == 2
    assert [len(numbers) for numbers in members(store).values()] == [2]
    other = make_config("boxes", "still", pairs={"min_side_px": 40.0})
    with pytest.raises(InputError, match="no usable boxes"):
        build_store(other, root, tmp_path, DataReport())
    assert not list(tmp_path.glob("*.tmp")), "nothing half written stays"


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """Data of which one box is too small."""
    make_data(tmp_path / "faulty")
    path = tmp_path / "faulty" / "still" / "annotations.json"
    entries = json.loads(path.read_text())
    entries[0]["boxes"].append([5, 5, 2, 2])
    path.write_text(json.dumps(entries))
    return tmp_path / "faulty"


def state(folder: Path) -> dict[str, int]:
    """Time of change of each file of a store."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_what_was_skipped_is_told_again(faulty: Path, tmp_path: Path) -> None:
    config = make_config("boxes", "still")
    first, second = DataReport(), DataReport()
    build_store(config, faulty, tmp_path / "store", first)
    before = state(tmp_path / "store")
    build_store(config, faulty, tmp_path / "store", second)
    assert first.lines() == second.lines()
    assert len(first.lines()) == 1
    assert first.lines()[0].startswith("1 x box under 4 px a side, first: ")
    (tmp_path / "store" / "skipped.txt").unlink()
    assert len(build_store(config, faulty, tmp_path / "store", DataReport())) == 2
    del before["skipped.txt"]
    assert state(tmp_path / "store") == before


def test_a_strict_run_does_not_trust_crops_cut_without_it(faulty: Path, tmp_path: Path) -> None:
    config, store = make_config("boxes", "still"), tmp_path / "store"
    build_store(config, faulty, store, DataReport())
    before = state(store)
    with pytest.raises(InputError, match="box under 4 px"):
        build_store(config, faulty, store, DataReport(strict=True))
    assert state(store) == before, "the store can still be used without --strict-data"


def test_a_strict_run_refuses_what_is_skipped_unseen(root: Path, tmp_path: Path) -> None:
    make_data(tmp_path / "data")
    path = tmp_path / "data" / "still" / "annotations.json"
    entries = json.loads(path.read_text())
    entries[0]["boxes"].append([300, 100, 40, 30])
    path.write_text(json.dumps(entries))
    config, report = make_config("boxes", "still"), DataReport()
    build_store(config, tmp_path / "data", tmp_path / "store", report)
    assert report.lines() == []
    with pytest.raises(InputError, match="box reaches over the border"):
        build_store(config, tmp_path / "data", tmp_path / "store", DataReport(strict=True))


def test_data_is_checked_strictly_once(root: Path, tmp_path: Path) -> None:
    config = make_config("boxes", "still")
    build_store(config, root, tmp_path, DataReport())
    crops = (tmp_path / "crops.bin").stat().st_mtime_ns
    build_store(config, root, tmp_path, DataReport(strict=True))
    before = state(tmp_path)
    build_store(config, root, tmp_path, DataReport(strict=True))
    assert state(tmp_path) == before
    assert before["crops.bin"] == crops
    report = DataReport()
    build_store(config, root, tmp_path, report)
    assert report.lines() == []


def test_a_failed_cut_leaves_the_store_that_was_there(root: Path, tmp_path: Path) -> None:
    build_store(make_config("boxes", "still"), root, tmp_path, DataReport())
    before = state(tmp_path)
    with pytest.raises(InputError, match="no usable boxes"):
        build_store(
            make_config("boxes", "still", pairs={"min_side_px": 40.0}), root, tmp_path, DataReport()
        )
    assert state(tmp_path) == before


def test_only_sequences_that_are_read_otherwise_get_another_key(tmp_path: Path) -> None:
    folder = tmp_path / "seq" / "a"
    folder.mkdir(parents=True)
    config = make_config("sequences", "seq")
    before = plain_key(config, tmp_path)
    (folder / "groundtruth.txt").write_text("1,2,3,4\n5,6,7,8\n\n")
    (folder / "video.mp4").touch()
    assert _fingerprint(config, tmp_path) == plain_key(config, tmp_path) != before
    (folder / "groundtruth.txt").write_text("1,2,3,4\n\n5,6,7,8\n")
    assert _fingerprint(config, tmp_path) != plain_key(config, tmp_path)
    (folder / "groundtruth.txt").write_text("1,2,3,4\n5,6,7,8\n")
    (folder / "video.mp4").rename(folder / "1.png")
    assert _fingerprint(config, tmp_path) != plain_key(config, tmp_path)


def plain_key(config: TrainConfig, root: Path) -> str:
    """The key as stores had it when pictures were matched by name."""
    sources = [config.as_mapping()["sources"], config.pairs.min_side_px, 511]
    text = json.dumps([*sources, config.tracker.context_amount])
    for folder, _, files in sorted(os.walk(root / "seq")):
        for name in sorted(files):
            stat = (Path(folder) / name).stat()
            text += f"{folder}/{name} {stat.st_size} {stat.st_mtime_ns}"
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_run_keeps_its_crops_while_another_cuts_anew(root: Path, tmp_path: Path) -> None:
    mine = build_store(make_config("boxes", "still"), root, tmp_path, DataReport())
    before = [mine.crop(number).image.copy() for number in range(len(mine))]
    build_store(make_config("sequences", "seq"), root, tmp_path, DataReport())
    for number, image in enumerate(before):
        assert np.array_equal(mine.crop(number).image, image)


def test_small_targets_are_kept_at_their_own_resolution(root: Path, tmp_path: Path) -> None:
    crop = build_store(make_config("boxes", "still"), root, tmp_path, DataReport()).crop(0)
    assert crop.shrink == 1.0
    assert crop.image.shape[0] == round(60 * 511 / 127)
    assert (crop.w, crop.h) == (30, 30)
    x, y = int(crop.cx), int(crop.cy)
    assert crop.image[y, x].tolist() == [250, 250, 250]


def test_a_view_puts_the_target_where_it_says() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[40:50, 60:70] = 255
    crop = Crop(image, 65.0, 45.0, 10.0, 10.0, 1.0, (0.0, 0.0, 0.0))
    view = View(127, (2.0, 2.0), 20.0, -10.0)
    seen = render(crop, crop.cx, crop.cy, view, 127)[..., 0] > 127
    ys, xs = np.nonzero(seen)
    assert xs.mean() + 0.5 == pytest.approx(63.5 + 20, abs=0.6)
    assert ys.mean() + 0.5 == pytest.approx(63.5 - 10, abs=0.6)
    assert seen.sum() == pytest.approx(400, rel=0.1)


def test_noise_is_made_at_the_cameras_resolution() -> None:
    assert native_side_px(View(255, (4.0, 4.0)), 1.0, 1.0) == 63
    assert native_side_px(View(255, (1.0, 1.0)), 2.0, 1.0) == 255
    assert native_side_px(View(255, (1.0, 1.0)), 1.0, 3.0) == 85


def test_a_target_that_is_turned_keeps_its_box_exactly(tmp_path: Path) -> None:
    """A wide bright target on a dark ground lies where its box says, whichever way it is turned."""
    image = np.full((400, 400, 3), 20, np.uint8)
    image[190:210, 170:230] = 250
    crop = Crop(image, 200.0, 200.0, 60.0, 20.0, 1.0, (20.0, 20.0, 20.0))
    for quarter in range(4):
        for flip in (False, True):
            view = View(255, (1.5, 2.0), 10.0, -20.0, 90.0 * quarter, flip)
            bright = render(crop, crop.cx, crop.cy, view, 255)[..., 0] > 130
            rows, columns = (np.flatnonzero(bright.any(axis)) for axis in (1, 0))
            w, h = view.size_of(crop.w, crop.h)
            assert len(columns) == pytest.approx(w, abs=1.5)
            assert len(rows) == pytest.approx(h, abs=1.5)
            assert columns.mean() + 0.5 == pytest.approx(127.5 + 10.0, abs=1.0)
            assert rows.mean() + 0.5 == pytest.approx(127.5 - 20.0, abs=1.0)
            assert (w > h) == (quarter % 2 == 0)


def test_negative_pairs_are_not_turned(root: Path, tmp_path: Path) -> None:
    """Where the template's target lies in them is worked out without rotation."""
    pairs, augment = {"negative": 0.5}, PLAIN | {"turn": 1.0}
    config = make_config("boxes", "still", augment=augment, night=NO_NIGHT, pairs=pairs)
    data = dataset(config, root, tmp_path)
    seen = set()
    for number in range(24):
        rng = np.random.default_rng(number)
        pair = data.draw(rng)
        view = _sample_views(pair, config, False, rng)[1]
        seen.add((pair.negative, view.rotation_deg != 0.0))
    assert seen == {(True, False), (False, True)}
