from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from drone.errors import FrameTimeoutError, SourceError
from drone.frame import Frame
from drone.video_file import VideoFileSource
from tests.drone.media import number_of, write_audio_only, write_video


def read_all(source: VideoFileSource) -> list[Frame]:
    frames = []
    while (frame := source.read(5.0)) is not None:
        frames.append(frame)
    return frames


def test_every_frame_in_order_with_its_time(tmp_path: Path) -> None:
    (tmp_path / "groundtruth.txt").write_text("1 2 3 4\n" * 20)
    source = VideoFileSource(write_video(tmp_path / "v.mp4", frames=24, fps=30))
    source.open()
    assert not source.live
    assert source.fps == 30
    assert source.frame_count == 24
    frames = read_all(source)
    assert [f.number for f in frames] == list(range(24))
    assert [number_of(f.image) for f in frames] == list(range(24))
    steps = [round(n * 1e9 / 30) for n in range(24)]
    assert [f.source_ns for f in frames] == pytest.approx(steps, abs=1e6)
    assert frames[0].truth == {"target": (1, 2, 3, 4)}
    assert frames[20].truth == {}
    assert source.read(0.1) is None
    source.close()
    source.close()
    assert source.read(0.1) is None


def test_opening_again_starts_over(tmp_path: Path) -> None:
    source = VideoFileSource(write_video(tmp_path / "v.mp4", frames=4))
    for _ in range(2):
        source.open()
        assert [f.number for f in read_all(source)] == [0, 1, 2, 3]


def test_a_paced_file_drops_what_the_reader_is_too_late_for(tmp_path: Path) -> None:
    source = VideoFileSource(write_video(tmp_path / "v.mp4", frames=24, fps=20), realtime=True)
    source.open()
    assert source.live
    first = source.read(5.0)
    assert first is not None
    time.sleep(0.4)
    late = source.read(5.0)
    assert late is not None
    assert late.number >= 7
    assert number_of(late.image) == late.number
    rest = read_all(source)
    numbers = [f.number for f in rest]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 23
    assert number_of(rest[-1].image) == 23
    # Captured when due, not when read.
    assert rest[-1].captured_ns - first.captured_ns == pytest.approx(23 / 20 * 1e9, abs=1e6)


def test_a_paced_file_times_out_between_frames(tmp_path: Path) -> None:
    source = VideoFileSource(write_video(tmp_path / "v.mp4", frames=3, fps=1), realtime=True)
    source.open()
    source.read(1.0)
    with pytest.raises(FrameTimeoutError, match="the next frame is due in"):
        source.read(0.01)


def test_a_truncated_file_gives_what_it_holds_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write_video(tmp_path / "v.mkv", frames=24).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    source = VideoFileSource(tmp_path / "cut.mkv")
    source.open()
    with caplog.at_level(logging.WARNING):
        frames = read_all(source)
    assert 0 < len(frames) < 24
    assert [number_of(f.image) for f in frames][:3] == [0, 1, 2]
    assert "truncated or damaged" in caplog.text


def test_a_whole_file_ends_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = VideoFileSource(write_video(tmp_path / "v.mkv"))
    source.open()
    with caplog.at_level(logging.WARNING):
        read_all(source)
    assert not caplog.records


def test_bad_files_are_named_with_what_was_expected(tmp_path: Path) -> None:
    def refuse(path: Path, match: str) -> None:
        source = VideoFileSource(path)
        with pytest.raises(SourceError, match=match) as refused:
            source.open()
        assert str(path) in str(refused.value)
        assert source.read(0.1) is None

    refuse(tmp_path / "absent.mp4", "no such file")
    refuse(tmp_path, "no such file")
    (tmp_path / "empty.mp4").write_bytes(b"")
    refuse(tmp_path / "empty.mp4", "empty .0 bytes.; expected a video")
    (tmp_path / "text.mp4").write_text("a letter to the editor\n" * 200)
    refuse(tmp_path / "text.mp4", "not a video that can be opened")
    refuse(write_audio_only(tmp_path / "audio.mp4"), r"no video stream \(it holds: audio\)")
    whole = write_video(tmp_path / "v.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    refuse(tmp_path / "cut.mp4", "copy or remux it again")


def test_a_play_list_cannot_make_the_decoder_open_other_places(tmp_path: Path) -> None:
    write_video(tmp_path / "secret.mp4")
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n")
    (tmp_path / "concat.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    for name in ("list.mp4", "concat.mp4"):
        with pytest.raises(SourceError, match="not a video that can be opened"):
            VideoFileSource(tmp_path / name).open()
