"""Images and videos in and out."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from model.enhance.media import WRITTEN_VIDEO_SUFFIXES, enhance_file, read_image
from model.errors import InputError


def plain(frames, total):
    return frames


def lighter(image):
    return np.minimum(image.astype(int) + 100, 255).astype(np.uint8)


def write_video(path, frames=6, size=(32, 48)):
    with av.open(str(path), "w") as writer:
        stream = writer.add_stream("mpeg4", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], "yuv420p"
        for i in range(frames):
            image = np.full((*size, 3), 20 + 10 * i, np.uint8)
            writer.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        writer.mux(stream.encode())


def test_an_image(tmp_path):
    image = np.full((8, 9, 3), 30, np.uint8)
    image[..., 0] = 90
    cv2.imwrite(str(tmp_path / "in.png"), image)
    assert enhance_file(tmp_path / "in.png", tmp_path / "out.png", lighter, plain) == 1
    assert read_image(tmp_path / "out.png")[2, 3].tolist() == [190, 130, 130]


def test_a_folder_of_images(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for name in ("b.png", "a.png"):
        cv2.imwrite(str(source / name), np.full((8, 8, 3), 10, np.uint8))
    (source / "notes.txt").write_text("no image")
    assert enhance_file(source, tmp_path / "new" / "out", lighter, plain) == 2
    assert sorted(p.name for p in (tmp_path / "new" / "out").iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize("suffix", WRITTEN_VIDEO_SUFFIXES)
def test_a_video_keeps_its_frames_size_and_rate(tmp_path, suffix):
    write_video(tmp_path / "in.mp4")
    target = tmp_path / f"out{suffix}"
    means = []

    def work(image):
        means.append(float(lighter(image).mean()))
        return lighter(image)

    assert enhance_file(tmp_path / "in.mp4", target, work, plain) == 6
    with av.open(str(target)) as reader:
        frames = [f.to_ndarray(format="bgr24") for f in reader.decode(video=0)]
        rate = reader.streams.video[0].average_rate
    assert len(frames) == 6
    assert frames[0].shape == (32, 48, 3)
    assert rate == 10
    assert [float(f.mean()) for f in frames] == pytest.approx(means, abs=4)
    assert means[-1] - means[0] > 40


def test_a_failure_leaves_nothing_behind(tmp_path):
    write_video(tmp_path / "in.mp4")
    before = sorted(tmp_path.iterdir())

    def fail(image):
        raise InputError("the enhancer gave up")

    with pytest.raises(InputError, match="gave up"):
        enhance_file(tmp_path / "in.mp4", tmp_path / "out.mp4", fail, plain)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("source", "target", "named"),
    [
        ("absent.png", "out.png", "does not exist"),
        ("in.png", "out.mp4", "must be an image"),
        ("in.mp4", "out.png", "must be a video"),
        ("in.mp4", "out.webm", r"out\.webm must be a video .*can be written: \.mp4 \.mkv"),
        ("in.mp4", "absent/out.mp4", "folder of --out"),
        ("in.png", "in.png", "input itself"),
        ("text.png", "out.png", "cannot be read as an image"),
        ("empty.png", "out.png", "cannot be read as an image"),
        ("huge.bmp", "out.png", "cannot be read as an image"),
        ("text.mp4", "out.mp4", "cannot be read"),
        ("notes.txt", "out.png", "no known kind"),
        ("folder", "out", "holds no image"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, source, target, named):
    cv2.imwrite(str(tmp_path / "in.png"), np.zeros((8, 8, 3), np.uint8))
    write_video(tmp_path / "in.mp4", frames=2)
    (tmp_path / "empty.png").touch()
    sizes = struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 10**5, 10**5, 1, 24, *[0] * 6)
    (tmp_path / "huge.bmp").write_bytes(b"BM" + sizes)
    for name in ("text.png", "text.mp4", "notes.txt"):
        (tmp_path / name).write_text("this is no picture")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=named):
        enhance_file(tmp_path / source, tmp_path / target, lighter, plain)
    assert not list(tmp_path.glob(".*.part"))
