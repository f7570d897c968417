"""Trackers behind one small interface: ours, OpenCV's, and how to open one by name."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2

from model.backend import Backend
from model.config import TrackerConfig
from model.errors import BackendError, BoxError
from model.evaluation.errors import PeerError
from model.geometry import Box, Image
from model.tracker import Tracker, TrackState

Opener = Callable[[Path, str], Backend]
"""Opens an exported engine or a checkpoint with a runtime, as `open_backend(path, "auto")`."""

CLASSICAL = ("kcf", "mil", "csrt")
WITH_MODELS = ("nano", "vit", "dasiamrpn")


class PeerTracker(Protocol):
    """What an evaluation asks of a tracker: one target at a time."""

    @property
    def engine(self) -> str:
        """What computes, for reports."""
        ...

    def init(self, image: Image, box: Box) -> None:
        """Learn the target from the first frame."""
        ...

    def update(self, image: Image) -> tuple[Box, float | None]:
        """Answer the box in the next frame and a score, None where the tracker has none."""
        ...

    def close(self) -> None:
        """Free what was opened."""
        ...


class EngineTracker:
    """Our tracker around an engine, which several may share: it is closed elsewhere."""

    def __init__(self, backend: Backend, config: TrackerConfig | None = None) -> None:
        """Args: backend: the engine. config: replaces the engine's own."""
        self._backend = backend
        self._tracker = Tracker(backend, config)
        self._state: TrackState | None = None

    @property
    def engine(self) -> str:
        """Engine, precision and device."""
        return self._backend.name

    def init(self, image: Image, box: Box) -> None:
        """Learn the target."""
        self._state = self._tracker.init(image, box)

    def update(self, image: Image) -> tuple[Box, float | None]:
        """Track one frame; an engine that fails on it leaves the box where it was, score 0."""
        if self._state is None:
            raise RuntimeError("update before init")
        try:
            self._state, result = self._tracker.update(self._state, image)
        except BackendError:
            return self._state.box, 0.0
        return result.box, result.score

    def close(self) -> None:
        """Forget the target."""
        self._state = None


class OpenCvTracker:
    """A tracker of OpenCV; when it says that it lost the target, its last box stands."""

    def __init__(self, create: Callable[[], Any], engine: str) -> None:
        """Args: create: makes a fresh tracker; engine: for reports."""
        self._create = create
        self._engine = engine
        self._tracker: Any = None
        self._box = Box(0, 0, 0, 0)
        self._scored = False

    @property
    def engine(self) -> str:
        """Library and version."""
        return self._engine

    def init(self, image: Image, box: Box) -> None:
        """Learn the target; OpenCV takes whole px."""
        self._tracker = self._create()
        self._scored = hasattr(self._tracker, "getTrackingScore")
        x, y, w, h = (round(v) for v in box)
        try:
            self._tracker.init(image, (x, y, max(w, 1), max(h, 1)))
        except cv2.error as error:
            raise BoxError(f"OpenCV refused the box {x},{y},{w},{h}: {error.err}") from None
        self._box = box

    def update(self, image: Image) -> tuple[Box, float | None]:
        """Track one frame."""
        try:
            found, box = self._tracker.update(image)
        except cv2.error:  # some raise instead of answering that the target is lost
            found, box = False, None
        if found and box is not None:
            x, y, w, h = (float(v) for v in box)
            self._box = Box(x, y, w, h)
        score = float(self._tracker.getTrackingScore()) if self._scored else -1.0
        return self._box, score if score >= 0 else None  # the classical ones answer -1

    def close(self) -> None:
        """Drop the tracker."""
        self._tracker = None


@dataclass(frozen=True)
class TrackerSpec:
    """A tracker by name, small enough to be sent to another process.

    Attributes:
        kind: `engine`, `kcf`, `mil`, `csrt`, `nano`, `vit`, `dasiamrpn` or `trax`.
        name: folder name of its results and row of the tables.
        path: engine, checkpoint or models; None where none is needed.
        command: what starts a TraX tracker.
        engine: runtime that computes, for `kind` engine.
        config: replaces the engine's configuration.
    """

    kind: str
    name: str
    path: Path | None = None
    command: tuple[str, ...] = ()
    engine: str = "auto"
    config: TrackerConfig | None = None


def parse_spec(text: str, engine: str = "auto") -> TrackerSpec:
    """Read a tracker as the command line names it.

    `kcf`, `mil`, `csrt`; `nano:DIR`, `vit:FILE`, `dasiamrpn:DIR` with the user's models;
    `trax:COMMAND`; else the path of an exported engine or a checkpoint. `NAME=…` renames it.

    Raises:
        PeerError: nothing of that name.
    """
    label, equals, rest = text.partition("=")
    if not equals or "/" in label or ":" in label:
        label, rest = "", text
    kind, colon, argument = rest.partition(":")
    if rest.lower() in CLASSICAL:
        return TrackerSpec(rest.lower(), label or rest.upper())
    if colon and kind.lower() == "trax":
        command = _split_command(text, argument)
        return TrackerSpec("trax", label or Path(command[0]).stem, command=command)
    if colon and kind.lower() in WITH_MODELS:
        path = Path(argument)
        if not argument or not path.exists():
            raise PeerError(f"tracker {text!r}: expected its models at {argument!r}, found nothing")
        return TrackerSpec(kind.lower(), label or f"{kind.lower()}-{path.stem}", path)
    path = Path(rest)
    if not path.exists():
        known = ", ".join((*CLASSICAL, *(f"{k}:PATH" for k in WITH_MODELS), "trax:COMMAND"))
        raise PeerError(f"tracker {text!r}: expected an engine's folder, a checkpoint, or {known}")
    name = path.resolve().name
    return TrackerSpec("engine", label or name.removesuffix(".pt"), path, engine=engine)


def _split_command(text: str, argument: str) -> tuple[str, ...]:
    """Split a command as a shell would: quotes keep blanks together."""
    try:
        command = tuple(shlex.split(argument))
    except ValueError as error:
        raise PeerError(f"tracker {text!r}: expected a command, found {error}") from None
    if not command:
        raise PeerError(f"tracker {text!r}: expected a command after trax:")
    return command


class TrackerOpener:
    """Opens trackers; those of the same engine share it."""

    def __init__(self, open_backend: Opener | None) -> None:
        """Args: open_backend: opens engines and checkpoints; needed for those alone."""
        self._open_backend = open_backend
        self._backends: dict[tuple[Path, str], Backend] = {}
        self._trackers: dict[TrackerSpec, PeerTracker] = {}

    def open(self, spec: TrackerSpec) -> PeerTracker:
        """Open a tracker, once.

        Raises:
            PeerError, InputError: it cannot be opened.
        """
        if spec not in self._trackers:
            self._trackers[spec] = self._make(spec)
        return self._trackers[spec]

    def close(self) -> None:
        """Close every tracker and engine."""
        for tracker in self._trackers.values():
            tracker.close()
        for backend in self._backends.values():
            backend.close()
        self._trackers.clear()
        self._backends.clear()

    def _make(self, spec: TrackerSpec) -> PeerTracker:
        if spec.kind == "engine":
            return EngineTracker(self._backend(spec), spec.config)
        if spec.kind == "trax":
            from model.evaluation.trax_client import TraxTracker

            return TraxTracker(spec.command)
        create = _creator(spec)
        if spec.kind in WITH_MODELS:
            _try_models(spec, create)
        return OpenCvTracker(create, f"OpenCV {cv2.__version__} (CPU)")

    def _backend(self, spec: TrackerSpec) -> Backend:
        if self._open_backend is None or spec.path is None:
            raise PeerError(f"tracker {spec.name}: no opener of engines was given")
        key = (spec.path, spec.engine)
        if key not in self._backends:
            self._backends[key] = self._open_backend(*key)
        return self._backends[key]


def _creator(spec: TrackerSpec) -> Callable[[], Any]:
    """Return what makes a fresh OpenCV tracker."""
    lib: Any = cv2  # contrib trackers and their parameters are not in every build's stubs
    if spec.kind in CLASSICAL:
        create = _find(f"Tracker{spec.kind.upper()}_create", spec)
        return lambda: create()
    assert spec.path is not None
    logging = lib.utils.logging
    logging.setLogLevel(logging.LOG_LEVEL_ERROR)  # else a warning for each sequence and layer
    if spec.kind == "nano":
        nano = _find("TrackerNano_Params", spec)()
        nano.backbone = str(_model_file(spec.path, "backbone"))
        nano.neckhead = str(_model_file(spec.path, "head"))
        return lambda: lib.TrackerNano_create(nano)
    if spec.kind == "vit":
        vit = _find("TrackerVit_Params", spec)()
        vit.net = str(spec.path if spec.path.is_file() else _model_file(spec.path, "vit"))
        return lambda: lib.TrackerVit_create(vit)
    siam = _find("TrackerDaSiamRPN_Params", spec)()
    siam.model = str(_model_file(spec.path, "model"))
    siam.kernel_cls1 = str(_model_file(spec.path, "cls"))
    siam.kernel_r1 = str(_model_file(spec.path, "r1"))
    return lambda: lib.TrackerDaSiamRPN_create(siam)


def _find(name: str, spec: TrackerSpec) -> Any:
    """Find a name of OpenCV that not every build has."""
    if not hasattr(cv2, name):
        raise PeerError(f"{spec.name}: this OpenCV lacks {name}; install opencv-contrib-python")
    return getattr(cv2, name)


def _try_models(spec: TrackerSpec, create: Callable[[], Any]) -> None:
    """Open a peer's models once, so that a file that is no model is told before any frame."""
    try:
        create()
    except cv2.error as error:
        raise PeerError(
            f"{spec.name}: OpenCV cannot open the models of {spec.path} as those of {spec.kind}: "
            f"{str(error.err).strip() or error}"
        ) from None


def _model_file(folder: Path, word: str) -> Path:
    """Find the one ONNX file whose name holds a word."""
    found = sorted(p for p in folder.glob("*.onnx") if word in p.name.lower())
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise PeerError(f"{folder}: expected one *{word}*.onnx, found {names}")
    return found[0]
