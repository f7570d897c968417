"""Image-based visual servo: from boxes to rates. Pure: values in, values out, no clock.

Each box is turned into a direction in the world (the camera's at the capture plus the pixel's),
filtered there, and carried forward to now; the camera is carried forward by what was commanded
since. So the error that is steered on is today's, not that of the picture (Chaumette and
Hutchinson, Visual servo control I, 2006, for the scheme; the gains are in `follow_config`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from drone.control import RateCommand
from drone.frame import Telemetry
from gcs import kalman
from gcs.camera_pose import Turns, bearing_deg, nearest_turn_deg
from gcs.follow_config import FollowConfig
from gcs.kalman import Motion
from model.geometry import Box

BEGIN_TURN_SD_DEG_S = 15.0
BEGIN_SIZE_SD_S = 0.3
BEGIN_DRIFT_SD_DEG_S = 3.0
"""How fast these may change before a second measurement tells."""

YAW_SD_DEG = 0.5
"""Standard deviation of the yaw in telemetry against the modelled one."""

LONGEST_STEP_S = 0.1
"""A pause longer than this is no licence for a larger change of the command."""


@dataclass(frozen=True)
class Sighting:
    """One box and the circumstances of its picture.

    Attributes:
        box: full-frame px.
        width_px, height_px: the frame.
        captured_ns: host's monotonic clock.
        telemetry: of the picture's time.
    """

    box: Box
    width_px: int
    height_px: int
    captured_ns: int
    telemetry: Telemetry = field(default_factory=Telemetry)


@dataclass(frozen=True)
class Aim:
    """What is known of the target's direction and distance; a value.

    Attributes:
        azimuth, elevation: in the world, deg.
        size: ln of the box side over the frame width.
        drift: how far the vehicle has turned beyond what it was told, deg; its velocity is what
            wind or a wrong model of the vehicle costs. At rest where telemetry has no yaw: there
            it is part of the azimuth's own velocity.
        camera_ns: capture of the newest sighting.
        camera_yaw_deg, camera_pitch_deg: where the camera pointed then.
        said_yaw, said_pitch: whether telemetry said so; else it is summed from the commands.
        fov_deg: horizontal field of view.
    """

    azimuth: Motion
    elevation: Motion
    size: Motion
    drift: Motion
    camera_ns: int
    camera_yaw_deg: float
    camera_pitch_deg: float
    said_yaw: bool
    said_pitch: bool
    fov_deg: float


@dataclass(frozen=True)
class Servo:
    """The state of the servo; a value.

    Attributes:
        aim: the target; None before its first box.
        turns: how the camera followed the commands.
        wanted_size: ln size to keep, set at the confirmation; None flies nowhere.
        last: command that went out last; its `issued_ns` is when.
        centring: a correction is under way, across and along; it began outside the dead zone and
            ends well inside it.
    """

    aim: Aim | None = None
    turns: Turns = field(default_factory=Turns)
    wanted_size: float | None = None
    last: RateCommand = field(default_factory=RateCommand)
    centring: tuple[bool, bool] = (False, False)

    def forget_target(self) -> Servo:
        """Drop the target; what was commanded stays known."""
        return replace(self, aim=None, wanted_size=None, centring=(False, False))

    def keep_distance(self) -> Servo:
        """Take the distance of now as the one to keep."""
        return replace(self, wanted_size=None if self.aim is None else self.aim.size.position)

    def release_distance(self) -> Servo:
        """Keep no distance any more."""
        return replace(self, wanted_size=None)


def observe(servo: Servo, seen: Sighting, config: FollowConfig) -> Servo:
    """Weigh in one good box. One that is older than the last changes nothing."""
    aim = servo.aim
    if aim is not None and seen.captured_ns <= aim.camera_ns:
        return servo
    telemetry = seen.telemetry
    yaw, said_yaw = _camera_deg(servo, seen.captured_ns, telemetry.yaw_deg, 0, config)
    pitch, said_pitch = _camera_deg(servo, seen.captured_ns, telemetry.gimbal_pitch_deg, 1, config)
    fov = _finite(telemetry.horizontal_fov_deg)
    # No camera sees less than a degree, or half of all around: such a report is none.
    fov = config.fov_deg if fov is None or not 1.0 <= fov <= 179.0 else fov
    box = seen.box
    turn, elevation = bearing_deg(box.cx, box.cy, seen.width_px, seen.height_px, fov, pitch)
    size = 0.5 * math.log(max(box.area, 1.0)) - math.log(seen.width_px)
    at, sd = seen.captured_ns, config.measure_noise * fov
    modelled = servo.turns.turned(at, config.response_s, config.dead_time_s)[0]
    if aim is None or (aim.said_yaw, aim.said_pitch) != (said_yaw, said_pitch):
        # Angles of another origin cannot be weighed against the old ones: begin anew.
        azimuths = kalman.begin(yaw + turn, at, sd, BEGIN_TURN_SD_DEG_S)
        elevations = kalman.begin(elevation, at, sd, BEGIN_TURN_SD_DEG_S)
        sizes = kalman.begin(size, at, config.size_noise, BEGIN_SIZE_SD_S)
        drift = kalman.begin(yaw - modelled, at, YAW_SD_DEG, BEGIN_DRIFT_SD_DEG_S)
    else:
        azimuth = nearest_turn_deg(yaw + turn, aim.azimuth.position)
        beyond = nearest_turn_deg(yaw - modelled, aim.drift.position)
        density = config.turn_noise_deg2_s3
        azimuths = _filter(aim.azimuth, azimuth, at, density, sd)
        elevations = _filter(aim.elevation, elevation, at, density, sd)
        sizes = _filter(aim.size, size, at, config.size_change_noise_s3, config.size_noise)
        drift = _filter(aim.drift, beyond, at, config.drift_noise_deg2_s3, YAW_SD_DEG)
    pose = (at, yaw, pitch, said_yaw, said_pitch)
    centring = (
        # By the azimuth: past straight down a target in the picture's middle may lie behind.
        _centring(servo.centring[0], turn * math.cos(math.radians(pitch)) / fov, config),
        _centring(servo.centring[1], box.cy / seen.height_px - 0.5, config),
    )
    aimed = Aim(azimuths, elevations, sizes, drift, *pose, fov)
    return replace(servo, aim=aimed, centring=centring)


def steer(servo: Servo, now_ns: int, config: FollowConfig) -> RateCommand:
    """The rates that centre the target and keep its distance, within clamp and slew.

    Which of them may go out is for the supervisor to say. Without a target: neutral.
    """
    aim = servo.aim
    if aim is None:
        return RateCommand(issued_ns=now_ns)
    span = aim.camera_ns, now_ns, config.response_s, config.dead_time_s
    yaw_since, pitch_since = servo.turns.between(*span)
    azimuth = kalman.predict(aim.azimuth, now_ns, config.turn_noise_deg2_s3)
    elevation = kalman.predict(aim.elevation, now_ns, config.turn_noise_deg2_s3)
    size = kalman.predict(aim.size, now_ns, config.size_change_noise_s3)
    drifted = aim.drift.velocity * (now_ns - aim.camera_ns) * 1e-9
    yaw_now = aim.camera_yaw_deg + yaw_since + drifted
    yaw_error = nearest_turn_deg(azimuth.position - yaw_now, 0.0)
    pitch_now = aim.camera_pitch_deg + pitch_since
    pitch_error = elevation.position - pitch_now
    # An azimuth counts for less of the picture the steeper the camera looks.
    across = yaw_error * math.cos(math.radians(pitch_now)) / aim.fov_deg
    ahead = config.feed_forward * (azimuth.velocity - aim.drift.velocity)
    yaw = _rate(yaw_error, servo.centring[0], ahead, config.yaw_gain_per_s, config)
    ahead = config.feed_forward * elevation.velocity
    pitch = _rate(pitch_error, servo.centring[1], ahead, config.pitch_gain_per_s, config)
    forward = _forward(servo.wanted_size, size.position, across, config)
    return _limit(servo.last, yaw, pitch, forward, pitch_now, now_ns, config)


def sent(servo: Servo, command: RateCommand, now_ns: int, config: FollowConfig) -> Servo:
    """Remember what went out, which the supervisor may have cut."""
    turns = servo.turns.commanded(command, now_ns, config.response_s)
    return replace(servo, turns=turns, last=replace(command, issued_ns=now_ns))


def _camera_deg(
    servo: Servo, at_ns: int, said: float | None, axis: int, config: FollowConfig
) -> tuple[float, bool]:
    """The camera's angle at a capture: as telemetry says, else summed from the commands."""
    known = _finite(said)
    if known is not None:
        return known, True
    return servo.turns.turned(at_ns, config.response_s, config.dead_time_s)[axis], False


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _filter(motion: Motion, measured: float, at_ns: int, density: float, sd: float) -> Motion:
    return kalman.correct(kalman.predict(motion, at_ns, density), measured, sd)


def _centring(active: bool, error_share: float, config: FollowConfig) -> bool:
    """Whether an error of the picture's centre is corrected: from the dead zone on, and then on."""
    end = config.dead_zone * config.dead_zone_end
    return abs(error_share) > (end if active else config.dead_zone)


def _rate(
    error_deg: float, centring: bool, ahead: float, gain: float, config: FollowConfig
) -> float:
    """Proportional, plus the rate that keeps up; nothing where a standing target is left alone."""
    quiet = config.quiet_deg_s
    # From standing (0) to moving (1): a camera that moves anyway may as well centre fully.
    moving = min(max(abs(ahead) / quiet - 1.0, 0.0), 1.0) if quiet > 0 else 1.0
    return (gain * error_deg + ahead) * (1.0 if centring else moving)


def _forward(wanted: float | None, size: float, across: float, config: FollowConfig) -> float:
    """Speed from the area ratio; none while the target is far off the middle."""
    if wanted is None:
        return 0.0
    farther = wanted - size
    excess = max(abs(farther) - config.forward_dead_zone, 0.0)
    cone = max(0.0, 1.0 - abs(across) / config.forward_cone)
    return math.copysign(config.forward_gain_m_s * excess * cone, farther)


def _limit(
    last: RateCommand,
    yaw: float,
    pitch: float,
    forward: float,
    pitch_now: float,
    now_ns: int,
    config: FollowConfig,
) -> RateCommand:
    step_s = min(max((now_ns - last.issued_ns) * 1e-9, 0.0), LONGEST_STEP_S)
    at_top = pitch_now >= config.max_gimbal_pitch_deg
    at_bottom = pitch_now <= config.min_gimbal_pitch_deg
    top = 0.0 if at_top else config.max_gimbal_pitch_deg_s
    bottom = 0.0 if at_bottom else -config.max_gimbal_pitch_deg_s
    most = config.max_yaw_deg_s
    return RateCommand(
        yaw_deg_s=_bounded(yaw, last.yaw_deg_s, config.slew_yaw_deg_s2 * step_s, -most, most),
        gimbal_pitch_deg_s=_bounded(
            pitch, last.gimbal_pitch_deg_s, config.slew_gimbal_pitch_deg_s2 * step_s, bottom, top
        ),
        forward_m_s=_bounded(
            forward,
            last.forward_m_s,
            config.slew_forward_m_s2 * step_s,
            -config.max_backward_m_s,
            config.max_forward_m_s,
        ),
        issued_ns=now_ns,
    )


def _bounded(wanted: float, last: float, step: float, low: float, high: float) -> float:
    """Slew first, clamp last: the clamp holds whatever came before."""
    if not math.isfinite(wanted):
        return 0.0
    return min(max(min(max(wanted, last - step), last + step), low), high)
