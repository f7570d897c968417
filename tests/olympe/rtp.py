"""H.264 pictures as RTP packets to one receiver, with RTCP sender reports."""

from __future__ import annotations

import fractions
import random
import struct
import time
from collections.abc import Callable

import av
import cv2
import numpy as np

from tests.olympe.pictures import Image

RTP_CLOCK_HZ = 90_000
PAYLOAD_TYPE = 96
PAYLOAD_MOST_BYTES = 1300
NTP_EPOCH_OFFSET_S = 2_208_988_800
_FU_A = 28


class Encoder:
    """x264 without delay: a picture goes in, its NAL units come out."""

    def __init__(self, width: int, height: int, fps: int) -> None:
        codec = av.CodecContext.create("libx264", "w")
        codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
        codec.time_base = fractions.Fraction(1, RTP_CLOCK_HZ)
        codec.framerate = fractions.Fraction(fps, 1)
        codec.bit_rate = 5_000_000
        codec.thread_count = 1
        codec.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            "g": str(fps),
            "x264-params": "repeat-headers=1:sliced-threads=0:annexb=1",
        }
        codec.open()
        self._codec = codec
        self._step = RTP_CLOCK_HZ // fps
        self._pts = 0

    def encode(self, image: Image, *, key: bool) -> list[bytes]:
        """NAL units without start codes."""
        yuv = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(yuv), format="yuv420p")
        frame.pts = self._pts
        frame.time_base = fractions.Fraction(1, RTP_CLOCK_HZ)
        self._pts += self._step
        if key:
            frame.pict_type = av.video.frame.PictureType.I
        return nal_units(b"".join(bytes(packet) for packet in self._codec.encode(frame)))


def nal_units(stream: bytes) -> list[bytes]:
    """Split an Annex B byte stream at its start codes."""
    parts = stream.split(b"\0\0\1")
    return [part.rstrip(b"\0") for part in parts[1:-1]] + parts[-1:] if len(parts) > 1 else []


class RtpReceiver:
    """One client that plays: numbers its packets and drops some on request."""

    def __init__(
        self, send_rtp: Callable[[bytes], object], send_rtcp: Callable[[bytes], object]
    ) -> None:
        self._send_rtp = send_rtp
        self._send_rtcp = send_rtcp
        self._rng = random.Random(7)
        self.sequence = self._rng.randrange(1 << 16)
        self.ssrc = self._rng.randrange(1 << 32)
        self._packets = self._octets = 0
        self._reported_s = 0.0

    def send(self, units: list[bytes], timestamp: int, extension: bytes, loss: float) -> None:
        """One picture. `extension` goes with its first packet; `loss` is a share of packets."""
        self._report(timestamp)
        payloads = [payload for unit in units for payload in _payloads(unit)]
        for index, payload in enumerate(payloads):
            first, last = index == 0, index == len(payloads) - 1
            self._packet(payload, timestamp, extension if first else b"", last, loss)

    def _packet(
        self, payload: bytes, timestamp: int, extension: bytes, last: bool, loss: float
    ) -> None:
        self.sequence = (self.sequence + 1) & 0xFFFF
        flags = 0x90 if extension else 0x80
        kind = PAYLOAD_TYPE | (0x80 if last else 0)
        header = struct.pack("!BBHII", flags, kind, self.sequence, timestamp, self.ssrc)
        self._packets += 1
        self._octets += len(payload)
        if loss and self._rng.random() < loss:
            return
        self._send_rtp(header + extension + payload)

    def _report(self, timestamp: int) -> None:
        now_s = time.monotonic()
        if now_s - self._reported_s < 1.0:
            return
        self._reported_s = now_s
        ntp = now_s + NTP_EPOCH_OFFSET_S
        body = (self.ssrc, int(ntp), int(ntp % 1 * (1 << 32)), timestamp)
        counts = (self._packets & 0xFFFFFFFF, self._octets & 0xFFFFFFFF)
        report = struct.pack("!BBHIIIIII", 0x80, 200, 6, *body, *counts)
        name = b"loopback"
        chunk = struct.pack("!IBB", self.ssrc, 1, len(name)) + name + b"\0"
        chunk += b"\0" * (-len(chunk) % 4)
        self._send_rtcp(report + struct.pack("!BBH", 0x81, 202, len(chunk) // 4) + chunk)


def _payloads(unit: bytes) -> list[bytes]:
    """RFC 6184: a small unit as it is, a large one as FU-A fragments."""
    if len(unit) <= PAYLOAD_MOST_BYTES:
        return [unit]
    head, body = unit[0], unit[1:]
    starts = range(0, len(body), PAYLOAD_MOST_BYTES)
    fragments = []
    for start in starts:
        mark = (0x80 if start == 0 else 0) | (0x40 if start == starts[-1] else 0)
        fu = bytes([(head & 0xE0) | _FU_A, mark | (head & 0x1F)])
        fragments.append(fu + body[start : start + PAYLOAD_MOST_BYTES])
    return fragments
