"""`mlkd track` end to end: a real video file, the shipped model, boxes and an annotated video."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from gcs.annotate import draw_box
from gcs.cli import main
from model.geometry import Box, Image, iou

SIZE = (320, 240)
FRAMES = 20
START = Box(60, 80, 48, 40)


def street(index: int) -> Image:
    """A dim textured ground with one bright, textured block moving over it."""
    rng = np.random.default_rng(4)
    ground = cv2.resize(rng.integers(10, 50, (60, 80, 3), np.uint8), SIZE)
    block = cv2.resize(rng.integers(80, 250, (5, 6, 3), np.uint8), (48, 40))
    x, y = truth(index).x, truth(index).y
    ground[int(y) : int(y) + 40, int(x) : int(x) + 48] = block
    return ground


def truth(index: int) -> Box:
    return Box(START.x + 4 * index, START.y + 2 * index, START.w, START.h)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "street.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for index in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(street(index), format="bgr24")))
        container.mux(stream.encode(None))
    return path


def read_boxes(path: Path) -> list[Box]:
    return [Box(*map(float, line.split(","))) for line in path.read_text().splitlines()]


def test_boxes_follow_the_target_and_the_first_is_the_given_one(
    video: Path, tmp_path: Path
) -> None:
    out, annotated = tmp_path / "boxes.txt", tmp_path / "annotated.mp4"
    box = ",".join(f"{v:g}" for v in START)
    done = main(["track", str(video), "--box", box, "--out", str(out), "--video", str(annotated)])
    assert done == 0
    assert out.read_text().splitlines()[0] == "60,80,48,40"
    boxes = read_boxes(out)
    assert len(boxes) == FRAMES
    overlaps = [iou(b, truth(i)) for i, b in enumerate(boxes)]
    assert min(overlaps) > 0.4
    with av.open(str(annotated)) as container:
        assert container.streams.video[0].average_rate == 25
        shown = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert len(shown) == FRAMES
    assert shown[0].shape == (SIZE[1], SIZE[0], 3)


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ("1,2,3", "four numbers"),
        ("a,b,c,d", "four numbers"),
        ("10,10,nan,20", "finite"),
        ("10,10,0,20", "empty"),
        ("400,10,20,20", "outside the 320 x 240 px image"),
        ("10,10,3,20", "at least 4 px"),
    ],
)
def test_a_bad_box_is_one_line_and_exit_code_2(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], box: str, says: str
) -> None:
    out = tmp_path / "boxes.txt"
    assert main(["track", str(video), "--box", box, "--out", str(out)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert says in error
    assert not out.exists()


def test_a_missing_video_and_a_missing_folder_are_named(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "boxes.txt")
    assert main(["track", str(tmp_path / "none.mp4"), "--box", "1,1,9,9", "--out", out]) == 2
    assert "none.mp4" in capsys.readouterr().err
    box = ["--box", "60,80,48,40"]
    assert main(["track", str(video), *box, "--out", out, "--video", str(tmp_path / "a.gif")]) == 2
    assert "expected .mp4" in capsys.readouterr().err
    deep = str(tmp_path / "no" / "boxes.txt")
    assert main(["track", str(video), "--box", "60,80,48,40", "--out", deep]) == 2
    assert "folder does not exist" in capsys.readouterr().err


def test_a_text_file_named_mp4_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = tmp_path / "fake.mp4"
    fake.write_text("no video at all\n" * 50)
    out = str(tmp_path / "boxes.txt")
    assert main(["track", str(fake), "--box", "1,1,9,9", "--out", out]) == 2
    assert "fake.mp4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "video_out", "expected"),
    [
        ("street.mp4", None, "--out {}/street.mp4 is the recording"),
        ("link.txt", None, "--out {}/link.txt is the recording"),
        ("boxes.txt", "street.mp4", "--video {}/street.mp4 is the recording"),
        ("x.mp4", "x.mp4", "--video {}/x.mp4 is the file of --out"),
    ],
)
def test_the_recording_is_never_written_over(
    video: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    out: str,
    video_out: str | None,
    expected: str,
) -> None:
    source = tmp_path / "street.mp4"
    source.write_bytes(video.read_bytes())
    (tmp_path / "link.txt").symlink_to(source)
    options = ["track", str(source), "--box", "60,80,48,40", "--out", str(tmp_path / out)]
    if video_out is not None:
        options += ["--video", str(tmp_path / video_out)]
    assert main(options) == 2
    assert expected.format(tmp_path) in capsys.readouterr().err
    assert source.read_bytes() == video.read_bytes()
    assert not (tmp_path / "x.mp4").exists()


def test_a_picture_of_the_recording_is_never_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), street(index))
    before = (tmp_path / "1.png").read_bytes()
    options = ["track", str(tmp_path), "--box", "60,80,48,40", "--out", str(tmp_path / "1.png")]
    assert main(options) == 2
    assert "is a file of the recording" in capsys.readouterr().err
    assert (tmp_path / "1.png").read_bytes() == before


def test_an_unknown_engine_names_the_known_ones(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["track", str(video), "--box", "60,80,48,40", "--out", str(tmp_path / "b.txt")]
    assert main([*arguments, "--engine", "warp"]) == 2
    assert "openvino" in capsys.readouterr().err


def test_a_drawn_box_leaves_the_frame_itself_unchanged() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    shown = draw_box(image, Box(10, 20, 30, 20), 0.3)
    assert image.max() == 0
    assert shown[20, 10:40].max() > 0
    assert shown[30, 25].max() == 0
