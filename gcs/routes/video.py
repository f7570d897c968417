"""Pictures: the WebSocket with frame and result together, MJPEG and a snapshot."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

from gcs.hub import HubClosedError, Pace, Publication, ViewersFullError
from gcs.problems import ProblemError
from gcs.requests import BusyError, HoldOrder
from gcs.schemas import Problem
from gcs.station import CurrentStation, Station, unavailable

router = APIRouter(prefix="/api", tags=["video"])

ACK_TIMEOUT_S = 10.0
"""A viewer that answers nothing for this long has gone; its seat is freed."""

CLOSE_BAD_MESSAGE = 1008
CLOSE_STOPPING = 1012
CLOSE_FULL = 1013

BOUNDARY = "mlkd-frame"


class Viewer:
    """One WebSocket: one picture in flight, the next one only after it was acknowledged."""

    def __init__(self, socket: WebSocket, station: Station) -> None:
        self._socket = socket
        self._station = station
        self._pace = Pace(station.settings.stream_fps)
        self._acknowledged = asyncio.Event()
        self._sequence = 0
        self._sent_ns = 0
        self._round_trip_ms: float | None = None

    async def run(self) -> None:
        """Send until the viewer leaves or the station stops."""
        tasks = {asyncio.create_task(self._listen()), asyncio.create_task(self._send())}
        done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for task in done:
            error = task.exception()
            code = close_code(error)
            if code is not None:
                with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                    await self._socket.close(code, str(error)[:120])

    async def _send(self) -> None:
        while True:
            await asyncio.sleep(self._pace.delay_s())
            publication = await self._station.hub.newer_than(self._sequence)
            message = await pack(publication, self._station, self._round_trip_ms)
            self._sequence = publication.status.sequence
            self._acknowledged.clear()
            self._sent_ns = self._station.clock()
            await self._socket.send_bytes(message)
            await asyncio.wait_for(self._acknowledged.wait(), ACK_TIMEOUT_S)

    async def _listen(self) -> None:
        while True:
            message = parse(await self._socket.receive_text())
            if "hold" in message:
                with contextlib.suppress(BusyError):
                    self._station.loop.orders.put(HoldOrder(message["hold"]))
            elif message["ack"] == self._sequence:
                self._round_trip_ms = (self._station.clock() - self._sent_ns) / 1e6
                self._acknowledged.set()


class BadMessageError(ValueError):
    """A viewer sent something that is neither an acknowledgement nor a hold."""


def parse(text: str) -> dict[str, int]:
    """Read `{"ack": sequence}` or `{"hold": frame_id}`.

    Raises:
        BadMessageError: anything else.
    """
    try:
        message: Any = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    if isinstance(message, dict) and len(message) == 1:
        ((key, value),) = message.items()
        if key in ("ack", "hold") and type(value) is int and value >= 0:
            return {key: value}
    raise BadMessageError('expected {"ack": sequence} or {"hold": frame_id}')


def close_code(error: BaseException | None) -> int | None:
    """The WebSocket code that tells a viewer why it ends; None when it has left by itself."""
    if error is None or isinstance(error, (WebSocketDisconnect, RuntimeError)):
        return None
    return CLOSE_STOPPING if isinstance(error, HubClosedError) else CLOSE_BAD_MESSAGE


async def pack(publication: Publication, station: Station, round_trip_ms: float | None) -> bytes:
    """Build one message: length of the header (4 bytes, little-endian), header, JPEG.

    The JPEG is empty where there is no new picture.
    """
    jpeg = b""
    if publication.has_picture:
        jpeg = await asyncio.to_thread(publication.jpeg)
    status = station.stamped(publication.status)
    known = {"encode_ms": publication.encode_ms, "round_trip_ms": round_trip_ms}
    status.latency = status.latency.model_copy(update=known)
    header = status.model_dump_json().encode()
    return b"".join((struct.pack("<I", len(header)), header, jpeg))


@router.websocket("/video")
async def video(socket: WebSocket, station: CurrentStation) -> None:
    """Frame and result in one binary message: header length, header (see Status), JPEG.

    Answer each message with the text `{"ack": sequence}`; the next one comes only then.
    `{"hold": frame_id}` keeps a frame while a box is drawn on it.
    """
    await socket.accept()
    try:
        with station.hub.seat():
            await Viewer(socket, station).run()
    except ViewersFullError as error:
        await socket.close(CLOSE_FULL, str(error))


@router.get("/video.mjpg", responses={503: {"model": Problem}})
async def video_mjpeg(station: CurrentStation) -> Response:
    """The stream with the box burned in, for players and old browsers."""
    if station.hub.viewers >= station.hub.max_viewers:
        raise full(station)
    return StreamingResponse(
        mjpeg_parts(station), media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}"
    )


def full(station: Station) -> ProblemError:
    """The refusal of one viewer too many."""
    return ProblemError(
        503,
        "Viewers full",
        f"{station.hub.viewers} viewers are watching",
        expected=f"at most {station.hub.max_viewers} viewers",
        mend="close another view, or raise the setting max_viewers",
    )


async def mjpeg_parts(station: Station) -> AsyncIterator[bytes]:
    """Yield multipart JPEGs until the viewer leaves or the station stops."""
    pace, sequence = Pace(station.settings.stream_fps), 0
    with contextlib.suppress(HubClosedError, ViewersFullError), station.hub.seat():
        while True:
            await asyncio.sleep(pace.delay_s())
            publication = await station.hub.newer_than(sequence)
            sequence = publication.status.sequence
            if publication.has_picture:
                jpeg = await asyncio.to_thread(publication.marked_jpeg)
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}"
                yield head.encode() + b"\r\n\r\n" + jpeg + b"\r\n"


@router.get(
    "/snapshot.jpg",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, 503: {"model": Problem}},
)
async def snapshot(station: CurrentStation, marked: bool = False) -> Response:
    """The newest picture; `marked` burns the box in."""
    publication = station.hub.latest_picture
    if publication is None:
        raise unavailable("no picture has arrived yet")
    encode = publication.marked_jpeg if marked else publication.jpeg
    jpeg = await asyncio.to_thread(encode)
    headers = {"X-Frame-Id": str(publication.status.frame_id), "Cache-Control": "no-store"}
    return Response(jpeg, media_type="image/jpeg", headers=headers)
