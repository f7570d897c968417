"""One session of the SDK's video player."""

from __future__ import annotations

import concurrent.futures
from dataclasses import dataclass

from drone.olympe_picture import RawSlot
from drone.olympe_sdk import SdkVideo, detach_pictures

# What the SDK raises when it gives up waiting for its own threads.
_LATE = (concurrent.futures.TimeoutError, concurrent.futures.CancelledError, TimeoutError)


@dataclass(frozen=True)
class VideoTiming:
    """Waiting times of the video.

    Attributes:
        silence_s: without a picture for so long the player is replaced: it notices nothing.
        play_s: longest wait for a player to start.
        backoff_first_s, backoff_most_s: pause between attempts; short, the video must be back
            within 3 s of its source's return.
        watch_s: how often the age of the newest picture is looked at.
        broken_s: pictures that the decoder marks as not to be shown are held back so long.
    """

    silence_s: float = 2.0
    play_s: float = 3.0
    backoff_first_s: float = 0.25
    backoff_most_s: float = 1.0
    watch_s: float = 0.05
    broken_s: float = 2.0


@dataclass(frozen=True)
class Playing:
    """A player and the slot that its pictures go to.

    Attributes:
        video: the player.
        slot: closed before the player is ended.
        owned: made for this session, and destroyed with it; else the connection's own.
    """

    video: SdkVideo
    slot: RawSlot
    owned: bool

    def start(self, url: str | None, media_name: str, timeout_s: float) -> bool:
        """Open the stream; False when it does not play in time."""
        try:
            return self.video.play(
                url,
                media_name=media_name,
                raw_cb=self.slot.put,
                flush_raw_cb=lambda _stream: self.slot.flush(),
                timeout=timeout_s,
            )
        except _LATE:
            return False

    def end(self, timeout_s: float) -> bool:
        """Stop, and free what was made for this session; False when it does not answer."""
        try:
            detach_pictures(self.video)
            if self.owned:
                self.video.destroy()
            else:
                self.video.stop(timeout=timeout_s)
        except _LATE:
            return False
        return True
