"""The video half of the loopback ANAFI: an RTSP server that the SDK's Pdraw plays.

Run as `python -m tests.olympe.rtsp`. Lines of JSON on stdin change it while it runs:
`{"frozen": true}` sends no picture but keeps the session, `{"loss": 0.01}` drops packets.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import random
import socket
import sys
import threading
import time
from typing import Any

from tests.olympe.pictures import pictures_of
from tests.olympe.rtp import PAYLOAD_TYPE, RTP_CLOCK_HZ, Encoder, RtpReceiver
from tests.olympe.say import say

HOST = "127.0.0.1"


class Camera(threading.Thread):
    """Encodes the pictures in real time, for whoever plays; idle without a client.

    With `--repeat N` it encodes N pictures at its start and sends those again and again, so that it
    takes next to nothing from the machine it shares with what is measured, as a real camera does.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(daemon=True, name="camera")
        self._pictures = pictures_of(args.pictures, args.width, args.height)
        self._encoder = Encoder(args.width, args.height, args.fps)
        self._period_s = 1 / args.fps
        self._extension = b""
        if args.vmeta:  # Parrot's own library writes the block; plain video does without it
            from tests.olympe import vmeta

            self._extension = vmeta.block()
        self._receivers: set[RtpReceiver] = set()
        self._lock = threading.Lock()
        self._key_wanted = True
        self.frozen = False
        self.loss = 0.0
        headers = self._encoder.encode(next(self._pictures), key=True)
        self._encoded = [
            self._encoder.encode(next(self._pictures), key=number == 0)
            for number in range(args.repeat)
        ]
        self._at = 0
        self.sps = next(unit for unit in headers if unit[0] & 31 == 7)
        self.pps = next(unit for unit in headers if unit[0] & 31 == 8)

    def add(self, receiver: RtpReceiver) -> None:
        with self._lock:
            self._receivers.add(receiver)
            self._key_wanted = True

    def remove(self, receiver: RtpReceiver | None) -> None:
        with self._lock:
            if receiver is not None:
                self._receivers.discard(receiver)

    def run(self) -> None:
        due_s = time.monotonic()
        while True:
            due_s = max(due_s + self._period_s, time.monotonic() - self._period_s)
            time.sleep(max(0.0, due_s - time.monotonic()))
            with self._lock:
                receivers, key = list(self._receivers), self._key_wanted
                if receivers:
                    self._key_wanted = False
            if not receivers or self.frozen:
                continue
            timestamp = int(time.monotonic() * RTP_CLOCK_HZ) & 0xFFFFFFFF
            units = self.next_units(key=key)
            for receiver in receivers:
                try:
                    receiver.send(units, timestamp, self._extension, self.loss)
                except OSError:
                    self.remove(receiver)

    def next_units(self, *, key: bool) -> list[bytes]:
        """NAL units of the next picture; a key picture where one is wanted."""
        if not self._encoded:
            return self._encoder.encode(next(self._pictures), key=key)
        at = 0 if key else self._at
        self._at = (at + 1) % len(self._encoded)
        return self._encoded[at]


class Session(threading.Thread):
    """One RTSP connection."""

    def __init__(self, connection: socket.socket, camera: Camera, media: list[str]) -> None:
        super().__init__(daemon=True, name="rtsp")
        self._connection = connection
        self._camera = camera
        self._media = media
        self._receiver: RtpReceiver | None = None
        self._sockets: list[socket.socket] = []
        self._session = f"Session: {random.randrange(1 << 32):08X};timeout=60"
        self._buffer = b""

    def run(self) -> None:
        try:
            while (request := self._request()) is not None:
                self._answer(*request)
        except (OSError, ValueError, KeyError) as error:
            say(error=repr(error))
        finally:
            self._camera.remove(self._receiver)
            for each in (*self._sockets, self._connection):
                each.close()

    def _request(self) -> tuple[str, str, dict[str, str]] | None:
        while b"\r\n\r\n" not in self._buffer:
            received = self._connection.recv(65536)
            if not received:
                return None
            self._buffer += received
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        first, *rest = head.decode().split("\r\n")
        method, url = first.split(" ")[:2]
        headers = {
            key.strip().lower(): value.strip() for key, _, value in (x.partition(":") for x in rest)
        }
        length = int(headers.get("content-length", 0))
        while len(self._buffer) < length:
            self._buffer += self._connection.recv(65536)
        self._buffer = self._buffer[length:]
        return method, url, headers

    def _reply(self, headers: dict[str, str], *lines: str, body: str = "") -> None:
        head = ["RTSP/1.0 200 OK", f"CSeq: {headers.get('cseq', '0')}", *lines]
        if body:
            head.append(f"Content-Length: {len(body)}")
        self._connection.sendall(("\r\n".join(head) + "\r\n\r\n" + body).encode())

    def _answer(self, method: str, url: str, headers: dict[str, str]) -> None:
        url = url.rstrip("/")
        if method == "OPTIONS":
            verbs = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER"
            self._reply(headers, f"Public: {verbs}")
        elif method == "DESCRIBE":
            kind = ("Content-Type: application/sdp", f"Content-Base: {url}/")
            self._reply(headers, *kind, body=self._sdp())
        elif method == "SETUP":
            self._reply(headers, f"Transport: {self._setup(headers['transport'])}", self._session)
        elif method == "PLAY" and self._receiver is not None:
            following = (self._receiver.sequence + 1) & 0xFFFF
            info = f"RTP-Info: url={url}/stream=0;seq={following}"
            self._reply(headers, self._session, "Range: npt=now-", info)
            self._camera.add(self._receiver)
        else:
            if method in ("PAUSE", "TEARDOWN"):
                self._camera.remove(self._receiver)
            self._reply(headers, self._session)

    def _setup(self, transport: str) -> str:
        """Open a pair of UDP ports towards the client's; returns the Transport header."""
        ports = next(x for x in transport.split(";") if x.startswith("client_port="))
        rtp_port, rtcp_port = (int(x) for x in ports.partition("=")[2].split("-"))
        peer = self._connection.getpeername()[0]
        rtp, rtcp, port = _udp_pair()
        self._sockets += [rtp, rtcp]
        receiver = RtpReceiver(
            lambda data: rtp.sendto(data, (peer, rtp_port)),
            lambda data: rtcp.sendto(data, (peer, rtcp_port)),
        )
        self._receiver = receiver
        server = f"server_port={port}-{port + 1};ssrc={receiver.ssrc:08X}"
        return f"RTP/AVP;unicast;client_port={rtp_port}-{rtcp_port};{server}"

    def _sdp(self) -> str:
        sps, pps = self._camera.sps, self._camera.pps
        sets = ",".join(base64.b64encode(unit).decode() for unit in (sps, pps))
        lines = ["v=0", f"o=- 1 1 IN IP4 {HOST}", "s=ANAFI-LOOPBACK", "t=0 0", "a=control:*"]
        for index, name in enumerate(self._media):
            lines += [
                f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
                f"i={name}",
                "c=IN IP4 0.0.0.0",
                f"a=rtpmap:{PAYLOAD_TYPE} H264/{RTP_CLOCK_HZ}",
                f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;"
                f"profile-level-id={sps[1:4].hex().upper()};sprop-parameter-sets={sets}",
                f"a=control:stream={index}",
            ]
        return "\r\n".join(lines) + "\r\n"


def _udp_pair() -> tuple[socket.socket, socket.socket, int]:
    while True:
        rtp, rtcp = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        try:
            rtp.bind((HOST, 0))
            port = rtp.getsockname()[1]
            rtcp.bind((HOST, port + 1))
        except OSError:
            rtp.close()
            rtcp.close()
        else:
            rtp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            return rtp, rtcp, port


def _obey_stdin(camera: Camera) -> None:
    for line in sys.stdin:
        change: dict[str, Any] = json.loads(line)
        camera.frozen = change.get("frozen", camera.frozen)
        camera.loss = change.get("loss", camera.loss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--media", action="append", help="media name; may be repeated")
    parser.add_argument("--pictures", default="tests.olympe.pictures:numbered")
    parser.add_argument("--vmeta", action="store_true")
    parser.add_argument("--repeat", type=int, default=0, help="encode so many pictures once")
    args = parser.parse_args()
    camera = Camera(args)
    camera.start()
    server = socket.create_server((HOST, args.port))
    say(ready=server.getsockname()[1])

    def accept() -> None:
        while True:
            connection, _ = server.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Session(connection, camera, args.media or ["Front camera"]).start()

    threading.Thread(target=accept, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        _obey_stdin(camera)


if __name__ == "__main__":
    main()
