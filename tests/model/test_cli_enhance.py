"""The verb `enhance`."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gcs.cli import main
from model.cli_enhance import NAMES
from model.enhance.registry import ENHANCERS


@pytest.fixture
def dark(tmp_path):
    path = tmp_path / "dark.png"
    cv2.imwrite(str(path), np.full((16, 20, 3), 12, np.uint8))
    return path


def test_the_parser_knows_every_enhancer():
    assert tuple(ENHANCERS) == NAMES


def test_an_image_is_lit(dark, tmp_path, capsys):
    out = tmp_path / "lit.png"
    assert main(["enhance", str(dark), "--out", str(out), "--enhancer", "gamma", "--quiet"]) == 0
    assert "1 frame enhanced by gamma" in capsys.readouterr().out
    assert cv2.imread(str(out)).mean() == pytest.approx(255 * (12 / 255) ** (1 / 2.2), abs=1)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--enhancer", "darklighter"], "needs a weight file"),
        (["--enhancer", "gamma", "--weights", "w.pth"], "takes no weight file"),
        (["--enhancer", "sci", "--weights", "no-such-file.pt"], "no-such-file.pt"),
        (["--device", "tpu"], "--device tpu"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(dark, tmp_path, capsys, arguments, named):
    assert main(["enhance", str(dark), "--out", str(tmp_path / "lit.png"), *arguments]) == 2
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1
    assert not (tmp_path / "lit.png").exists()


def test_a_video_is_not_written_as_webm(tmp_path, capsys):
    clip, out = tmp_path / "in.avi", tmp_path / "v.webm"
    video = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 32))
    video.write(np.zeros((32, 32, 3), np.uint8))
    video.release()
    assert main(["enhance", str(clip), "--out", str(out), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "v.webm" in error
    assert ".mp4" in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.avi"]


def test_an_unknown_enhancer_is_refused_by_the_parser(dark, tmp_path):
    with pytest.raises(SystemExit) as stop:
        main(["enhance", str(dark), "--out", str(tmp_path / "x.png"), "--enhancer", "magic"])
    assert stop.value.code == 2
