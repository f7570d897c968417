"""The service: startup → main loop → graceful shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from gcs.guard import MAX_BODY_BYTES, Guard, Keeper
from gcs.problems import add_handlers
from gcs.routes import access, camera, follow, status, tracking, video
from gcs.settings import Settings
from gcs.station import Station
from model.errors import ConfigError

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"

DRAIN_S = 2
"""Time for open connections to end; with the loop's own second the stop takes 3 s at most."""

FIRST_REQUEST_S = 10.0
"""Time that a new connection has for its first request."""

MOST_OPEN_FILES = 65_536


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Run the station's loop while the application serves."""
    station: Station = app.state.station
    station.hub.attach(asyncio.get_running_loop())
    station.start()
    try:
        yield
    finally:
        station.hub.close()
        await asyncio.to_thread(station.stop)


def create_app(station: Station) -> FastAPI:
    """Make the application around a station."""
    app = FastAPI(
        title="MLKD-Track ground station",
        version=metadata.version("mlkd-track"),
        description="Draw a box, follow it at night. Every refusal is a problem body (RFC 9457).",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.station = station
    app.state.pilot = station.pilot
    token = station.settings.token
    keeper = Keeper(token.get_secret_value() if token else None)
    app.state.keeper = keeper
    add_handlers(app)
    for module in (tracking, status, video, camera, follow, access):
        app.include_router(module.router)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(STATIC / "docs.html")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    hosts = station.settings.allowed_hosts
    if not station.settings.on_loopback:
        hosts = (*hosts, station.settings.host, socket.gethostname())
    app.add_middleware(Guard, keeper=keeper, allowed_hosts=hosts)
    return app


class Server(uvicorn.Server):
    """Ends the viewers before it waits for open connections."""

    def __init__(self, config: uvicorn.Config, station: Station) -> None:
        super().__init__(config)
        self._station = station

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Hover, let the viewers go, then stop gracefully."""
        self._station.take_over("shutdown")
        self._station.hub.close()
        await super().shutdown(sockets)


class Connection(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Closes a connection that asks for nothing; uvicorn waits for a first request for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self.loop.call_later(FIRST_REQUEST_S, self._close_if_silent, transport)

    def _close_if_silent(self, transport: asyncio.Transport) -> None:
        # A WebSocket has left this protocol, and its set, by now.
        if self.cycle is None and self in self.connections:
            transport.close()


def allow_many_sockets() -> None:
    """Raise the soft limit of open files, so that idle sockets do not use it up."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft < most:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def listen(settings: Settings) -> socket.socket:
    """Take the port before anything is started.

    Raises:
        ConfigError: it is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=64)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"cannot serve on {settings.host} port {settings.port}: {reason}; "
            "expected an address of this machine and a free port: try --port 0 for any (make serve "
            "ARGS='--port 0'), or stop the other program"
        ) from None


def server_config(station: Station) -> uvicorn.Config:
    """How the application is served."""
    settings = station.settings
    return uvicorn.Config(
        create_app(station),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=DRAIN_S,
        ws_max_size=MAX_BODY_BYTES,
        ws_per_message_deflate=False,
        # Not uvicorn's limit_concurrency: it counts open sockets, so that idle ones would have an
        # override refused. The guard counts requests, and leaves out those that hover.
        http=Connection,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )


def serve(station: Station, listener: socket.socket) -> None:
    """Serve until a signal; returns after the graceful stop."""
    allow_many_sockets()
    config = server_config(station)
    # What is loaded by now stays; a full collection would walk through it for 50 ms in a flight.
    gc.collect()
    gc.freeze()
    # The server raises the signal once more after its graceful stop.
    with contextlib.suppress(KeyboardInterrupt):
        Server(config, station).run(sockets=[listener])
