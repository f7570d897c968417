"""What the command sender puts out, as a pure function of what it was given and the time."""

from __future__ import annotations

import enum
import math
import struct
from dataclasses import dataclass, field, replace

from drone.control import RateCommand
from drone.errors import ControlError

RECORD = struct.Struct("<5dq")
"""One command on the pipe: yaw, gimbal pitch, forward, right, up, issued_ns."""

MOST_RATE_HZ = 40.0
"""Commands a second, new ones and repeated ones together; neutral is not held back."""

AHEAD_NS = 50_000_000
"""A command from further in the future than this has a wrong clock and is not believed."""


@dataclass(frozen=True)
class SenderConfig:
    """Rate, expiry and hard limits of the sender.

    Attributes:
        rate_hz: how often a command is repeated, 20..40; a new one goes out at once, but never
            more than `MOST_RATE_HZ` of them.
        expiry_s: age of the newest command, from its `issued_ns`, at which neutral goes out
            instead; 0.2..0.3.
        zeros_s: how long explicit neutral commands are sent before the sender falls silent.
        most_yaw_deg_s, most_gimbal_pitch_deg_s, most_speed_m_s: no command goes out above these.
    """

    rate_hz: float = 25.0
    expiry_s: float = 0.25
    zeros_s: float = 1.0
    most_yaw_deg_s: float = 90.0
    most_gimbal_pitch_deg_s: float = 90.0
    most_speed_m_s: float = 15.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ControlError: names the field and what was expected.
        """
        for name, low, high in (
            ("rate_hz", 20.0, 40.0),
            ("expiry_s", 0.2, 0.3),
            ("zeros_s", 0.2, 10.0),
            ("most_yaw_deg_s", 0.0, 360.0),
            ("most_gimbal_pitch_deg_s", 0.0, 360.0),
            ("most_speed_m_s", 0.0, 30.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ControlError(f"{name} is {value!r}: expected {low:g}..{high:g}")


class Mode(enum.Enum):
    """What the sender is doing."""

    ACTIVE = "ACTIVE"
    """A live command goes out."""
    ZEROS = "ZEROS"
    """Explicit neutral commands go out."""
    SILENT = "SILENT"
    """Nothing goes out: the vehicle is its pilot's."""


@dataclass(frozen=True)
class Sender:
    """The sender's memory; a value. It starts silent.

    Attributes:
        command: newest that was given.
        zeros_since_ns: since when neutral goes out; None while a command is live or before one.
        started: a command was ever given.
    """

    command: RateCommand = field(default_factory=RateCommand)
    zeros_since_ns: int | None = None
    started: bool = False


def give(sender: Sender, command: RateCommand, config: SenderConfig) -> Sender:
    """Take the newest command: a rate that is not finite makes all of it neutral."""
    rates = (
        (command.yaw_deg_s, config.most_yaw_deg_s),
        (command.gimbal_pitch_deg_s, config.most_gimbal_pitch_deg_s),
        (command.forward_m_s, config.most_speed_m_s),
        (command.right_m_s, config.most_speed_m_s),
        (command.up_m_s, config.most_speed_m_s),
    )
    if all(math.isfinite(rate) for rate, _ in rates):
        yaw, gimbal, forward, right, up = (min(max(rate, -most), most) for rate, most in rates)
        cut = RateCommand(yaw, gimbal, forward, right, up, command.issued_ns)
    else:
        cut = RateCommand(issued_ns=command.issued_ns)
    return replace(sender, command=cut, started=True)


def tick(
    sender: Sender, now_ns: int, config: SenderConfig
) -> tuple[Sender, Mode, RateCommand | None]:
    """Choose what goes out now.

    Returns:
        the sender, what it is doing, and the command; None when nothing goes out.
    """
    if not sender.started:
        return sender, Mode.SILENT, None
    command = sender.command
    age_ns = now_ns - command.issued_ns
    live = -AHEAD_NS <= age_ns <= config.expiry_s * 1e9
    if live and not command.is_neutral:
        return replace(sender, zeros_since_ns=None), Mode.ACTIVE, command
    if sender.zeros_since_ns is None:
        sender = replace(sender, zeros_since_ns=now_ns)
    since_ns = now_ns - (sender.zeros_since_ns or now_ns)
    neutral = RateCommand(issued_ns=command.issued_ns)
    if live:
        # Neutral on purpose, and renewed: hover under our hand as long as it is.
        return replace(sender, zeros_since_ns=now_ns), Mode.ZEROS, neutral
    if since_ns <= config.zeros_s * 1e9:
        return sender, Mode.ZEROS, neutral
    return sender, Mode.SILENT, None


def pack(command: RateCommand) -> bytes:
    """Write a command as one record."""
    return RECORD.pack(
        command.yaw_deg_s,
        command.gimbal_pitch_deg_s,
        command.forward_m_s,
        command.right_m_s,
        command.up_m_s,
        command.issued_ns,
    )


def unpack(record: bytes) -> RateCommand:
    """Read one record."""
    return RateCommand(*RECORD.unpack(record))
