from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model.errors import InputError
from model.evaluation.box_files import Float64
from model.evaluation.ope import track_sequence
from model.evaluation.peers import TrackerOpener, TrackerSpec
from model.evaluation.sequences import read_video_sequence

pytest.importorskip("trax")
REPOSITORY = Path(__file__).resolve().parents[3]

SERVE = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from model.evaluation.peers import EngineTracker, TrackerOpener, TrackerSpec
from model.evaluation.trax_server import serve_trax
from tests.fakes import BrightnessBackend
tracker = {tracker}
answered = serve_trax(tracker, {name!r})
Path({log!r}).write_text(str(answered))
"""


def serve(tmp_path: Path, tracker: str, name: str) -> tuple[TrackerSpec, Path]:
    """A TraX tracker as a program of its own, and the file that it leaves."""
    program, log = tmp_path / f"{name}.py", tmp_path / f"{name}.log"
    text = SERVE.format(root=str(REPOSITORY), tracker=tracker, name=name, log=str(log))
    program.write_text(text)
    return TrackerSpec("trax", name, command=(sys.executable, str(program))), log


@pytest.mark.parametrize(
    ("tracker", "name"),
    [
        ("EngineTracker(BrightnessBackend())", "ours"),
        ("TrackerOpener(None).open(TrackerSpec('kcf', 'KCF'))", "KCF"),
    ],
)
def test_a_tracker_behind_trax_answers_as_it_does_alone(
    tmp_path: Path, make_video: Callable[[Path, int], Float64], tracker: str, name: str
) -> None:
    make_video(tmp_path / "set" / "a", 6)
    sequence = read_video_sequence(tmp_path / "set" / "a")
    spec, log = serve(tmp_path, tracker, name)
    behind = TrackerOpener(None).open(spec)
    if name == "ours":
        from model.evaluation.peers import EngineTracker
        from tests.fakes import BrightnessBackend

        alone = EngineTracker(BrightnessBackend())
        far, near = track_sequence([behind, alone], sequence, "here")
    else:
        far, near = track_sequence(
            [behind, TrackerOpener(None).open(TrackerSpec("kcf", "KCF"))], sequence, "here"
        )
    assert far.boxes == pytest.approx(near.boxes, abs=1e-3)
    assert far.engine == f"TraX {name}"
    if name == "ours":
        assert far.scores[1:] == pytest.approx(near.scores[1:], abs=1e-5)
    else:
        assert np.isnan(far.scores).all()
    behind.close()
    assert log.read_text() == "6"


def test_one_tracker_serves_sequence_after_sequence(
    tmp_path: Path, make_video: Callable[[Path, int], Float64]
) -> None:
    make_video(tmp_path / "set" / "a", 3)
    sequence = read_video_sequence(tmp_path / "set" / "a")
    spec, _ = serve(tmp_path, "EngineTracker(BrightnessBackend())", "ours")
    tracker = TrackerOpener(None).open(spec)
    first = track_sequence([tracker], sequence, "here")[0]
    second = track_sequence([tracker], sequence, "here")[0]
    assert np.array_equal(first.boxes, second.boxes)
    tracker.close()


def test_a_command_that_does_not_start(
    tmp_path: Path, make_video: Callable[[Path, int], Float64]
) -> None:
    make_video(tmp_path / "set" / "a", 3)
    sequence = read_video_sequence(tmp_path / "set" / "a")
    tracker = TrackerOpener(None).open(TrackerSpec("trax", "x", command=("/no/such/program",)))
    with pytest.raises(InputError, match="does not start: /no/such/program"):
        track_sequence([tracker], sequence, "here")
    tracker.close()


def test_a_tracker_that_dies_before_it_connects_is_told_at_once(
    tmp_path: Path, make_video: Callable[[Path, int], Float64]
) -> None:
    make_video(tmp_path / "set" / "a", 3)
    sequence = read_video_sequence(tmp_path / "set" / "a")
    program = "import sys; print('no weights here', file=sys.stderr); sys.exit(3)"
    spec = TrackerSpec("trax", "x", command=(sys.executable, "-c", program))
    tracker = TrackerOpener(None).open(spec)
    with pytest.raises(InputError, match=r"ended with exit code 3: no weights here"):
        track_sequence([tracker], sequence, "here")
    tracker.close()


def test_a_tracker_that_dies_on_a_frame_leaves_its_last_words(
    tmp_path: Path, make_video: Callable[[Path, int], Float64]
) -> None:
    make_video(tmp_path / "set" / "a", 3)
    sequence = read_video_sequence(tmp_path / "set" / "a")
    dying = "type('Dying', (EngineTracker,), {'update': lambda self, image: 1 / 0})"
    spec, _ = serve(tmp_path, f"{dying}(BrightnessBackend())", "dying")
    tracker = TrackerOpener(None).open(spec)
    with pytest.raises(InputError, match=r"exit code 1: .*ZeroDivisionError"):
        track_sequence([tracker], sequence, "here")
    tracker.close()
