"""What the ground station asks of a video source and of a vehicle."""

from __future__ import annotations

from typing import Protocol

from drone.frame import Frame


class FrameSource(Protocol):
    """Delivers the newest frame. One reader thread; `close` may come from any thread."""

    @property
    def name(self) -> str:
        """What it is, for logs and the page, as `simulator` or `rtsp://…`."""
        ...

    @property
    def live(self) -> bool:
        """True: newest wins, frames are dropped. False (a file): every frame is delivered."""
        ...

    def open(self) -> None:
        """Start delivering.

        Raises:
            SourceError: it cannot be opened (named, with what was expected); nothing stays open.
        """
        ...

    def read(self, timeout_s: float) -> Frame | None:
        """Wait for a frame not yet delivered; the newest one where the source is live.

        Returns:
            the frame, or None when the source has ended for good.

        Raises:
            FrameTimeoutError: nothing came in `timeout_s`; the source may recover, read again.
            SourceError: the source broke and does not recover by itself.
        """
        ...

    def close(self) -> None:
        """Stop and free everything; calling it twice is allowed."""
        ...
