from __future__ import annotations

import socket
import threading

import pytest

from drone.errors import SourceError
from drone.olympe_rtsp import media_names, offered_media

SDP = (
    "v=0\r\ns=ANAFI\r\ni=not a medium\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\ni=Front camera\r\na=control:stream=0\r\n"
    "m=audio 0 RTP/AVP 97\r\ni=Microphone\r\n"
    "m=video 0 RTP/AVP 96\r\na=control:stream=1\r\n"
)


def served(answer: bytes) -> list[str]:
    """What `offered_media` makes of this answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return offered_media(f"rtsp://127.0.0.1:{server.getsockname()[1]}/live")
        finally:
            thread.join(5)


def test_video_media_are_listed_and_a_nameless_one_has_its_session_s_name() -> None:
    assert media_names(SDP) == ["Front camera", "ANAFI"]
    assert media_names("v=0\r\n") == []


def test_a_server_is_asked() -> None:
    head = f"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: {len(SDP)}\r\n\r\n"
    assert served((head + SDP).encode()) == ["Front camera", "ANAFI"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n", "404 Not Found"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 99\r\n\r\nv=0", "not complete"),
        (b"", "not complete|reset"),
    ],
)
def test_a_bad_answer_is_told(answer: bytes, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        served(answer)


def test_nobody_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(SourceError, match="no video server answers"):
        offered_media(f"rtsp://127.0.0.1:{port}/live")


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "rtsp://", "rtsp://user@host/live"])
def test_an_address_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(SourceError, match="expected rtsp://ADDRESS:PORT/live"):
        offered_media(url)
