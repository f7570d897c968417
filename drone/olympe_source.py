"""Video of a Parrot drone through the SDK's own player: newest picture wins, stalls are mended."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from drone.errors import ControlError, FrameTimeoutError, SourceError
from drone.frame import Frame, Telemetry
from drone.olympe_link import Backoff, FirstAttempt, OlympeLink
from drone.olympe_models import MEDIA_NAME, checked_ip, parse_address
from drone.olympe_picture import RawPicture, RawSlot, bgr_of_frame, source_time_ns
from drone.olympe_player import Playing, VideoTiming
from drone.olympe_rtsp import check_media
from drone.olympe_sdk import OlympeSdk, Sdk
from drone.olympe_telemetry import merged, telemetry_of_vmeta
from drone.source_clock import SourceClock
from model.errors import MissingExtraError

logger = logging.getLogger(__name__)

STALE_S = 0.3


def olympe_source(spec: str) -> OlympeSource:
    """Make a source of `ADDRESS[:PORT][/MEDIA NAME]`, which `olympe:` stood before.

    Raises:
        SourceError: it does not have this form.
    """
    address = parse_address(spec)
    return OlympeSource(address.ip, url=address.url, media_name=address.media_name)


class OlympeSource:
    """A `FrameSource` of a Parrot drone's camera; one thread owns the player.

    The player says nothing when its stream freezes or dies. So the age of the newest picture is
    watched: `read` gives up after 0.3 s, and after 2 s of silence a new player is made.
    """

    live = True

    def __init__(
        self,
        ip: str,
        link: OlympeLink | None = None,
        *,
        url: str | None = None,
        media_name: str = MEDIA_NAME,
        telemetry: Callable[[], Telemetry] | None = None,
        timing: VideoTiming | None = None,
        make_sdk: Callable[[], Sdk] = OlympeSdk,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Name the drone; nothing is opened yet.

        Raises:
            SourceError: not an IPv4 address.

        Args:
            ip: IPv4 address of the drone or of its SkyController.
            link: an open connection in this process; needed through a SkyController, else only
                its telemetry is used.
            url: RTSP address where it is not the drone's usual one.
            media_name: name of the camera's stream, as the drone offers it.
            telemetry: where else the vehicle's state comes from (a sender process).
            timing, make_sdk, clock: waiting times, the SDK, the host's monotonic clock.
        """
        try:
            self._ip = checked_ip(ip)
        except ControlError as error:
            raise SourceError(f"olympe:{ip}: {error}") from error
        self._link = link
        self._given_url = url
        self._media_name = media_name
        self._telemetry = telemetry
        self._timing = timing or VideoTiming()
        self._make_sdk, self._clock = make_sdk, clock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._playing: Playing | None = None
        self._ended: Exception | None = None
        self._number = 0
        self._source_clock = SourceClock()
        self.sessions = 0
        self.pictures_with_errors = 0
        self.refs = self.unrefs = self._dropped = 0

    @property
    def name(self) -> str:
        """`olympe:ADDRESS`."""
        return f"olympe:{self._ip}"

    @property
    def dropped(self) -> int:
        """Pictures that were replaced before anybody read them."""
        playing = self._playing
        return self._dropped + (playing.slot.dropped if playing else 0)

    @property
    def frame_age_s(self) -> float | None:
        """Age of the newest picture; None before the first of this session."""
        playing = self._playing
        if playing is None or playing.slot.newest_ns is None:
            return None
        return (self._clock() - playing.slot.newest_ns) / 1e9

    def open(self) -> None:
        """Start playing.

        Raises:
            SourceError: no video server there, the media name is not offered (lists those that
                are), or the player refuses; nothing stays open.
            MissingExtraError: the SDK is not installed.
        """
        self.close()
        self._stop, self._ended = threading.Event(), None
        first = FirstAttempt()
        self._thread = threading.Thread(
            target=self._run, args=(first, self._stop), name="olympe-video", daemon=True
        )
        self._thread.start()
        first.done.wait()
        if first.error is not None:
            self.close()
            raise first.error

    def check_media(self) -> None:
        """Ask the drone's video server, without the SDK.

        Raises:
            MediaNameError: the media name is not offered; lists those that are.
            SourceError: no video server answers.
        """
        check_media(self._url, self._media_name, self.name)

    def read(self, timeout_s: float) -> Frame | None:
        """Wait for the newest frame, 0.3 s at most.

        Raises:
            FrameTimeoutError: the video is silent; it is being mended, read again.
            SourceError: the thread died.
        """
        deadline_s = time.monotonic() + min(timeout_s, STALE_S)
        while not self._stop.is_set():
            if self._ended is not None:
                raise SourceError(f"{self.name}: {self._ended}")
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                age_s = self.frame_age_s
                age = "none came yet" if age_s is None else f"the last came {age_s:.1f} s ago"
                raise FrameTimeoutError(f"{self.name}: no frame ({age})")
            with self._changed:
                playing = self._playing
                if playing is None:
                    self._changed.wait(left_s)
                    continue
            frame = playing.slot.use(left_s, self._frame_of)
            if frame is not None:
                assert isinstance(frame, Frame)
                return frame
        return None

    def close(self) -> None:
        """Stop playing and free everything; calling it twice is allowed."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._timing.play_s + 2.0)

    def _run(self, first: FirstAttempt, stop: threading.Event) -> None:
        backoff = Backoff(self._timing.backoff_first_s, self._timing.backoff_most_s)
        try:
            sdk = self._link.sdk if self._link is not None else self._make_sdk()
            while not stop.is_set():
                try:
                    playing = self._play(sdk)
                    first.done.set()
                except (SourceError, ControlError) as error:
                    if not first.done.is_set():
                        raise
                    pause_s = backoff.next_s()
                    logger.warning("%s; again in %.2f s", error, pause_s)
                    stop.wait(pause_s)
                    continue
                try:
                    if self._watch(playing, stop):
                        backoff.reset()
                    elif not stop.is_set():
                        stop.wait(backoff.next_s())
                finally:
                    self._end(playing)
        except (SourceError, ControlError, MissingExtraError) as error:
            first.error = self._ended = error
        except Exception as error:
            first.error = self._ended = SourceError(f"the video thread died: {error!r}")
            logger.exception("%s: the video thread died", self.name)
        finally:
            first.done.set()
            with self._changed:
                self._changed.notify_all()

    def _play(self, sdk: Sdk) -> Playing:
        if self._through_controller:
            assert self._link is not None
            own = self._link.drone.streaming
            if own is None:
                raise SourceError(f"{self.name}: the SkyController gives no video")
            video = own
        else:
            self.check_media()
            video = sdk.video()
        owned = not self._through_controller
        url = self._url if owned else None
        # Nobody reads now: the slot of the session before was closed.
        self._source_clock = SourceClock()
        playing = Playing(video, RawSlot(self._number, self._clock), owned)
        if not playing.start(url, self._media_name, self._timing.play_s):
            self._end(playing)
            raise SourceError(
                f"{self.name}: the player does not start within {self._timing.play_s:g} s "
                f"(media name {self._media_name!r})"
            )
        self.sessions += 1
        with self._changed:
            self._playing = playing
            self._changed.notify_all()
        return playing

    @property
    def _url(self) -> str:
        return self._given_url or f"rtsp://{self._ip}/live"

    @property
    def _through_controller(self) -> bool:
        model = None if self._link is None else self._link.model
        return model is not None and model.through_controller and self._given_url is None

    def _watch(self, playing: Playing, stop: threading.Event) -> bool:
        """Return when the session has gone silent; tells whether it ever gave a picture."""
        session = None if self._link is None or playing.owned else self._link.session
        while not stop.wait(self._timing.watch_s):
            if session is not None and self._link is not None and self._link.session != session:
                break
            newest_ns = playing.slot.newest_ns or playing.slot.opened_ns
            if (self._clock() - newest_ns) / 1e9 >= self._timing.silence_s:
                logger.warning("%s: no picture for %.1f s", self.name, self._timing.silence_s)
                break
        return playing.slot.newest_ns is not None

    def _end(self, playing: Playing) -> None:
        with self._changed:
            self._playing = None
        slot = playing.slot
        slot.close()
        self._number = slot.next_number
        self._dropped += slot.dropped
        self.refs += slot.refs
        self.unrefs += slot.unrefs
        if not playing.end(self._timing.play_s):
            logger.warning("%s: the player does not stop", self.name)

    def _frame_of(self, picture: RawPicture, slot: RawSlot) -> Frame | None:
        """Convert a picture; None for one that the decoder says not to show."""
        info = picture.frame.info()
        if not info:
            return None
        source_ns = source_time_ns(info)
        captured_ns = self._source_clock.captured_ns(source_ns, picture.arrived_ns)
        playing_s = (picture.arrived_ns - slot.opened_ns) / 1e9
        # A drone that never sends a key frame stays silent for ever: then a broken picture wins.
        if info.get("is_silent") and playing_s < self._timing.broken_s:
            return None
        if picture.frame.as_ndarray() is None:
            self.pictures_with_errors += 1
            return None
        damaged = bool(info.get("has_errors") or info.get("is_silent"))
        self.pictures_with_errors += damaged
        _, vmeta = picture.frame.vmeta()
        return Frame(
            number=picture.number,
            image=bgr_of_frame(picture.frame, info),
            captured_ns=captured_ns,
            source_ns=source_ns,
            telemetry=merged(self._known(), telemetry_of_vmeta(vmeta)),
            arrived_ns=picture.arrived_ns,
            damaged=damaged,
        )

    def _known(self) -> Telemetry:
        if self._telemetry is not None:
            return self._telemetry()
        return Telemetry() if self._link is None else self._link.telemetry().telemetry
