"""`mlkd serve`: the ground station."""

from __future__ import annotations

import argparse
import os
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import InputError

if TYPE_CHECKING:
    import socket

    from gcs.settings import Settings

FLAGS = (
    "source",
    "decoder",
    "repeat",
    "model",
    "engine",
    "host",
    "port",
    "token",
    "allowed_hosts",
    "tls_cert",
    "tls_key",
    "allow_plain_http",
    "flights_dir",
    "open",
    "max_viewers",
)

OPEN_DELAY_S = 1.0


def add_parser(sub: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb; what is not given comes from MLKD_* variables, --config or the defaults."""
    parser = sub.add_parser("serve", help="run the ground station and its page")
    add = parser.add_argument
    add("--source", help="simulator, a video, a folder, rtsp://…, webcam:0 or olympe:ADDRESS")
    add("--decoder", help="cpu (default), auto, or a device that decodes video, as cuda or vaapi")
    add("--repeat", action="store_true", default=None, help="start a file anew when it ends")
    add(
        "--model",
        type=Path,
        help="model folder, or the name of one that ships (default: siamrpn-alexnet)",
    )
    add("--engine", help="auto, the name of a runtime, or the path of an exported model")
    add("--host", help="address to listen on (default 127.0.0.1; any other asks for a token)")
    add("--port", type=int, help="port to listen on (default 8000; 0: any free one)")
    add("--token", help="secret of the station; better given as MLKD_TOKEN")
    add("--allowed-hosts", nargs="+", metavar="NAME", help="host names browsers may use")
    add("--tls-cert", type=Path, help="certificate, PEM")
    add("--tls-key", type=Path, help="key of the certificate, PEM")
    add("--allow-plain-http", action="store_true", default=None, help="no TLS, as inside a VPN")
    add("--flights-dir", type=Path, help="folder of the flight logs (default flights)")
    add("--max-viewers", type=int, help="most pages that watch at a time")
    add("--open", action="store_true", default=None, help="open the page in a browser")
    add("--config", type=Path, help="YAML file of settings")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until stopped.

    Raises:
        ConfigError, InputError, SourceError: told in one line, exit code 2.
    """
    from gcs.app import listen, serve
    from gcs.compose import build_station
    from gcs.problems import shown
    from gcs.settings import load_settings

    settings = load_settings({name: getattr(args, name) for name in FLAGS}, args.config)
    settings.check_exposure()
    check_flights_dir(settings.flights_dir)
    listener = listen(settings)
    try:
        station = build_station(settings)
    except BaseException:
        listener.close()
        raise
    address = page_address(settings, listener)
    print(f"MLKD-Track on {address}", flush=True)
    print(f"source {station.feed.name}, engine {station.backend.name}", flush=True)
    print(f"flights in {shown(str(settings.flights_dir.resolve()))}; Ctrl+C stops", flush=True)
    if settings.open:
        timer = threading.Timer(OPEN_DELAY_S, webbrowser.open, [address])
        timer.daemon = True
        timer.start()
    serve(station, listener)
    print("stopped", flush=True)
    return 0


def check_flights_dir(folder: Path) -> None:
    """See that flights can be logged before anything flies; nothing is made yet.

    Raises:
        InputError: the folder, or where it would be made, is a file or cannot be written.
    """
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise InputError(
            f"flights cannot be logged in {folder}: {place} is a file or cannot be written; give "
            "another folder with --flights-dir"
        )


def page_address(settings: Settings, listener: socket.socket) -> str:
    """The page's address, with the port that was taken."""
    port = listener.getsockname()[1]
    scheme = "https" if settings.tls_cert else "http"
    host = settings.host if ":" not in settings.host else f"[{settings.host}]"
    shown = "localhost" if host in ("0.0.0.0", "[::]") else host  # noqa: S104
    return f"{scheme}://{shown}:{port}/"
