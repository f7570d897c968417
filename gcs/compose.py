"""The only file that names concrete sources and engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drone.control import StationVehicle, VehicleControl
from drone.source import FrameSource
from drone.sources import open_source
from exporter.runtime.graphs import GraphBackend
from exporter.runtime.open import ENGINES, open_backend
from gcs.settings import Settings
from gcs.station import Station, assemble
from model.backend import Backend
from model.errors import InputError


def build_station(settings: Settings) -> Station:
    """Open the source and the engine that the settings name.

    Raises:
        InputError: the model, its manifest or the engine's name cannot be used.
        SourceError: a file or folder cannot be read; a live source may come later.
        BackendError: the engine does not start.
    """
    settings.check_exposure()
    source, vehicle = open_parts(settings)
    model, engine = choose_model(settings)
    later = opens_later(source)
    if not later:
        source.open()
    try:
        backend = open_backend(model, engine)
    except BaseException:
        source.close()
        raise
    control, manifest = vehicle or control_of(source), describe_model(backend, model)
    station = assemble(settings, source, backend, control=control, manifest=manifest)
    station.vehicle = vehicle
    if later:
        station.connect()
    return station


def open_parts(settings: Settings) -> tuple[FrameSource, StationVehicle | None]:
    """Make the source, and the vehicle where it is one that has to be opened; opens neither.

    Raises:
        SourceError: no such thing; names what was expected.
        MissingExtraError: it needs a library that is not installed.
    """
    spec = settings.source.strip()
    if spec.startswith("olympe:"):
        # Parrot's wing, needed by few.
        from drone.olympe_command import PilotingLimits
        from drone.olympe_sdk import check_installed
        from drone.olympe_station import station_drone

        check_installed()
        limits = PilotingLimits.of_share(settings.follow_config.clamp)
        return station_drone(spec.partition(":")[2], limits)
    return open_source(spec, realtime=True, decoder=settings.decoder), None


def choose_model(settings: Settings) -> tuple[Path | None, str]:
    """The model's path, None for the built-in one, and the engine; `--engine PATH` names a model.

    Raises:
        InputError: the engine is neither a name nor a path.
    """
    if settings.engine in ENGINES:
        return settings.model, settings.engine
    path = Path(settings.engine).expanduser()
    if not path.exists():
        raise InputError(
            f"engine is {settings.engine!r}: expected one of {', '.join(ENGINES)}, "
            "or the path of an exported model"
        )
    if settings.model is not None:
        raise InputError(
            f"both --model {settings.model} and --engine {path} name a model: give one of them"
        )
    return path, "auto"


def describe_model(backend: Backend, path: Path | None) -> dict[str, Any]:
    """Keys for every flight's manifest: which weights flew."""
    if isinstance(backend, GraphBackend):
        files = backend.model
        return {"model": files.folder.resolve().name, "engine_sha256": files.digest}
    return {"model": backend.name if path is None else path.name}


def opens_later(source: FrameSource) -> bool:
    """Tell a camera, which may come while the station runs, from a file, which is there or not."""
    from drone.images import ImageFolderSource
    from drone.video_file import VideoFileSource

    return not isinstance(source, (VideoFileSource, ImageFolderSource))


def control_of(source: FrameSource) -> VehicleControl | None:
    """The source's own camera control, where it has one."""
    from drone.simulator import NightSimulator  # draws, so it is imported only here

    return source if isinstance(source, NightSimulator) else None
