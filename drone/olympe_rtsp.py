"""Asks an RTSP server which media it offers, before the SDK's player opens it.

The player gives no reason when it cannot play, and leaves a thread behind for each failure.
"""

from __future__ import annotations

import re
import socket

from drone.errors import SourceError

ANSWER_MOST_BYTES = 65536


class MediaNameError(SourceError):
    """The drone streams, but nothing of this name."""


def check_media(url: str, media_name: str, source: str) -> None:
    """Make sure that a server offers a medium of this name.

    Raises:
        MediaNameError: it does not; lists those that it offers.
        SourceError: nobody answers, or not as an RTSP server does.
    """
    offered = offered_media(url)
    if media_name not in offered:
        listed = ", ".join(repr(name) for name in offered) or "none"
        raise MediaNameError(f"{source}: no media named {media_name!r}; the drone offers {listed}")


def offered_media(url: str, timeout_s: float = 1.5) -> list[str]:
    """Names of the video media at `rtsp://host[:port]/path`, in the server's order.

    A medium without a name is called by the name of its session, as the SDK does.

    Raises:
        SourceError: nobody answers, or not as an RTSP server does.
    """
    parts = re.fullmatch(r"rtsp://([^/:@]+)(?::(\d{1,5}))?(/.*)?", url)
    if parts is None:
        raise SourceError(f"{url!r}: expected rtsp://ADDRESS:PORT/live")
    address = (parts[1], int(parts[2] or 554))
    request = f"DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
    try:
        with socket.create_connection(address, timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(request.encode())
            answer = _read_answer(connection)
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{url}: no video server answers ({error}); expected a drone that streams"
        ) from error
    return media_names(answer)


def media_names(sdp: str) -> list[str]:
    """Names of the video media of a session description (RFC 8866)."""
    session, *media = re.split(r"^m=", sdp, flags=re.MULTILINE)
    title = _field("s", session) or ""
    return [_field("i", one) or title for one in media if one.startswith("video")]


def _field(letter: str, text: str) -> str | None:
    found = re.search(rf"^{letter}=(.*?)\r?$", text, re.MULTILINE)
    return found[1].strip() if found else None


def _read_answer(connection: socket.socket) -> str:
    received = b""
    while len(received) < ANSWER_MOST_BYTES:
        head, separator, body = received.partition(b"\r\n\r\n")
        if separator:
            status = head.split(b"\r\n", 1)[0].decode(errors="replace")
            if " 200 " not in status + " ":
                raise ValueError(f"it answered {status!r}")
            length = re.search(rb"(?i)^content-length:\s*(\d+)", head, re.MULTILINE)
            wanted = int(length[1]) if length else 0
            if len(body) >= wanted:
                return body[:wanted].decode(errors="replace")
        part = connection.recv(4096)
        if not part:
            break
        received += part
    raise ValueError("its answer is not complete")
