"""Settings that a drone must hold before it is flown: set, then read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from drone.errors import ControlError
from drone.olympe_sdk import Sdk, SdkDrone, last_states

ANSWER_S = 1.5
ENDINGS = ("hovering", "landing")


@dataclass(frozen=True)
class VehicleSettings:
    """What is set at each connection.

    Attributes:
        streaming_mode: `low_latency`, `high_reliability` or `high_reliability_low_framerate`.
        home_delay_s: the drone flies home by itself so long after it lost the link.
        home_automatic: whether it does so at all.
        home_ending: what it does above its home: `hovering` or `landing`.
    """

    streaming_mode: str = "low_latency"
    home_delay_s: int = 10
    home_automatic: bool = True
    home_ending: str = "hovering"

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ControlError: names the setting and what was expected.
        """
        modes = ("low_latency", "high_reliability", "high_reliability_low_framerate")
        if self.streaming_mode not in modes:
            raise ControlError(f"streaming_mode is {self.streaming_mode!r}: expected {modes}")
        if not 0 <= self.home_delay_s <= 120:
            raise ControlError(f"home_delay_s is {self.home_delay_s!r}: expected 0..120")
        if self.home_ending not in ENDINGS:
            raise ControlError(f"home_ending is {self.home_ending!r}: expected {ENDINGS}")


@dataclass(frozen=True)
class SettingResult:
    """What the drone answered; `got` is None where it said nothing."""

    name: str
    wanted: Any
    got: Any

    @property
    def applied(self) -> bool:
        """True when the drone holds what was asked."""
        return bool(self.got == self.wanted)

    def __str__(self) -> str:
        """One line for the log."""
        got = "did not answer" if self.got is None else f"has {self.got!r}"
        return f"setting {self.name}: wanted {self.wanted!r}, the drone {got}"


@dataclass(frozen=True)
class _Setting:
    name: str
    command: str
    args: Mapping[str, Any]
    state: str
    field: str
    wanted: Any


def _wanted(settings: VehicleSettings, camera: str) -> Iterator[_Setting]:
    mode, ending = settings.streaming_mode, settings.home_ending
    if camera == "camera":  # camera2 offers no choice of the streaming mode
        yield _Setting(
            "streaming_mode",
            "camera.set_streaming_mode",
            {"cam_id": 0, "value": mode},
            "camera.streaming_mode",
            "value",
            mode,
        )
    delay_s = settings.home_delay_s
    yield _Setting(
        "home_delay_s", "rth.set_delay", {"delay": delay_s}, "rth.delay", "delay", delay_s
    )
    trigger = "on" if settings.home_automatic else "off"
    yield _Setting(
        "home_automatic",
        "rth.set_auto_trigger_mode",
        {"mode": trigger},
        "rth.auto_trigger_mode",
        "mode",
        trigger,
    )
    yield _Setting(
        "home_ending",
        "rth.set_ending_behavior",
        {"ending_behavior": ending},
        "rth.ending_behavior",
        "ending_behavior",
        ending,
    )


def apply_settings(
    drone: SdkDrone, sdk: Sdk, settings: VehicleSettings, camera: str = "camera"
) -> tuple[SettingResult, ...]:
    """Set everything at once, wait for the answers, read back what the drone holds.

    A setting that is not answered is reported as such, and is no error.

    Args:
        drone: connected.
        sdk: where the messages are.
        settings: what to set.
        camera: the model's feature of camera messages; `camera2` has no streaming mode.
    """
    wanted = list(_wanted(settings, camera))
    asked = [drone(sdk.message(one.command)(**one.args, _timeout=ANSWER_S)) for one in wanted]
    for answer in asked:
        answer.wait()
    return tuple(SettingResult(one.name, one.wanted, _read(drone, sdk, one)) for one in wanted)


def _read(drone: SdkDrone, sdk: Sdk, setting: _Setting) -> Any:
    states = last_states(drone, sdk.message(setting.state))
    got = states[0].get(setting.field) if states else None
    return getattr(got, "name", got)
