from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from drone.errors import SourceError
from drone.images import ImageFolderSource
from drone.simulator import NightSimulator
from drone.sources import open_recording, open_source
from drone.video_file import VideoFileSource
from drone.video_live import LiveVideoSource
from tests.drone.media import numbered_image, write_video


def test_each_kind_of_source(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", frames=2)
    cv2.imwrite(str(tmp_path / "1.png"), numbered_image(1))
    assert isinstance(open_source("simulator"), NightSimulator)
    assert open_source(" simulator:glare ").name == "simulator:glare"
    assert isinstance(open_source(str(video)), VideoFileSource)
    assert open_source(str(video), realtime=True).live
    assert isinstance(open_source(str(tmp_path)), ImageFolderSource)
    assert isinstance(open_source("webcam:2"), LiveVideoSource)
    assert open_source("webcam:2").name == "webcam:2"
    camera = open_source("rtsp://pilot:secret@127.0.0.1:554/live")
    assert camera.name == "rtsp://pilot:***@127.0.0.1:554/live"
    assert isinstance(open_recording(video), VideoFileSource)


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("", "expected `simulator`"),
        ("nowhere.mp4", "no such file or folder"),
        ("simulator:noon", "'noon' is unknown: expected one of default, crossing"),
        ("webcam:", "expected webcam:0"),
        ("webcam:-1", "expected webcam:0"),
        ("webcam:/dev/mem", "expected webcam:0"),
        ("http://example.org/v.mp4", "scheme 'http' is not allowed"),
        ("file:///etc/passwd", "scheme 'file' is not allowed"),
        ("concat:a.ts|b.ts", "scheme 'concat' is not allowed"),
        ("rtmp://127.0.0.1/x", "scheme 'rtmp' is not allowed"),
        ("video\0.mp4", "not a path"),
    ],
)
def test_other_things_are_refused(spec: str, match: str) -> None:
    with pytest.raises(SourceError, match=match):
        open_source(spec)


def test_a_recording_is_a_path_only() -> None:
    for spec in ("simulator", "rtsp://127.0.0.1/live", "webcam:0"):
        with pytest.raises(SourceError, match="no such file or folder"):
            open_recording(spec)
