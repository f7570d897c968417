"""What a Parrot drone says of itself, with the age of every field."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from drone.frame import Telemetry

Values = dict[str, Any]
_FIELDS = tuple(field.name for field in fields(Telemetry))

FAST_FIELDS = frozenset({"yaw_deg", "gimbal_pitch_deg", "height_m", "speed_m_s", "home_distance_m"})
"""The drone repeats these at 5 Hz and more. The others come when they change, and stay true."""
FAST_FIELD_LIFE_S = 1.0
SILENCE_S = 2.0
"""A drone that said nothing at all for so long is not known any more: its link is down, though
the SDK notices only after 8 s."""
EARTH_RADIUS_M = 6_371_000.0


@dataclass(frozen=True)
class TelemetrySnapshot:
    """The newest values and how old each is.

    Attributes:
        telemetry: fast fields older than a second are None; everything is, once the drone has
            been silent for `SILENCE_S`.
        age_s: by field name, of every field that ever came.
        returning_home: the drone flies home by its own decision or the pilot's.
        app_pilots: through a SkyController: our commands fly, not the sticks; None without one.
        heard_age_s: since the last word of any kind; None before the first.
    """

    telemetry: Telemetry
    age_s: Mapping[str, float]
    returning_home: bool
    app_pilots: bool | None
    heard_age_s: float | None


class TelemetryStore:
    """Keeps the newest value of each field; written by the SDK's thread, read by any."""

    def __init__(self) -> None:
        """Start empty."""
        self._lock = threading.Lock()
        self._values: dict[str, tuple[Any, int]] = {}
        self._heard_ns: int | None = None

    def put(self, values: Values, now_ns: int) -> None:
        """Take new values; a key that is no telemetry field is kept as well."""
        with self._lock:
            self._heard_ns = now_ns
            for name, value in values.items():
                self._values[name] = (value, now_ns)

    def clear(self) -> None:
        """Forget everything: the vehicle is another one, or gone."""
        with self._lock:
            self._values.clear()
            self._heard_ns = None

    def get(self, name: str) -> Any:
        """The value of one field, whatever its age; None where it never came."""
        with self._lock:
            return self._values.get(name, (None, 0))[0]

    def snapshot(self, now_ns: int) -> TelemetrySnapshot:
        """Everything, at one instant."""
        with self._lock:
            values, heard_ns = dict(self._values), self._heard_ns
        silent = heard_ns is None or (now_ns - heard_ns) / 1e9 > SILENCE_S
        # A drone says a place that it does not know too, as None: the other one may be known.
        places = (values.get(name, (None, 0))[0] for name in ("takeoff", "home"))
        home = next((place for place in places if place is not None), None)
        here, here_ns = values.get("here", (None, 0))
        if here is not None and home is not None:
            values["home_distance_m"] = (_ground_m(here, home), here_ns)
        age_s = {name: (now_ns - at_ns) / 1e9 for name, (_, at_ns) in values.items()}
        fresh = {
            name: value
            for name, (value, _) in values.items()
            if name in _FIELDS and (name not in FAST_FIELDS or age_s[name] <= FAST_FIELD_LIFE_S)
            if not silent
        }
        return TelemetrySnapshot(
            telemetry=Telemetry(**fresh),
            age_s={name: age for name, age in age_s.items() if name in _FIELDS},
            returning_home=values.get("returning_home", (False, 0))[0],
            app_pilots=values.get("app_pilots", (None, 0))[0],
            heard_age_s=None if heard_ns is None else (now_ns - heard_ns) / 1e9,
        )


def _word(value: Any) -> str:
    """An SDK enum value, or a string, as a plain word."""
    return str(getattr(value, "name", value))


def _link(args: Mapping[str, Any]) -> Values:
    # Bits 0..3 hold 1 (about to disconnect) .. 5 (very good); the others are warnings.
    return {"link_quality": min(max((int(args["value"]) & 0xF) - 1, 0), 4) / 4}


def _place(args: Mapping[str, Any]) -> tuple[float, float] | None:
    latitude_deg, longitude_deg = float(args["latitude"]), float(args["longitude"])
    # 500 stands for unknown.
    known = abs(latitude_deg) <= 90 and abs(longitude_deg) <= 180
    return (latitude_deg, longitude_deg) if known else None


def _ground_m(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Distance over ground of two places in degrees; flat Earth, good to 0.1 % over some km."""
    north_deg = b[0] - a[0]
    east_deg = (b[1] - a[1] + 180) % 360 - 180
    east_deg *= math.cos(math.radians((a[0] + b[0]) / 2))
    return math.radians(math.hypot(north_deg, east_deg)) * EARTH_RADIUS_M


def _camera2(args: Mapping[str, Any]) -> Values:
    """ANAFI Ai's state of one camera; it holds what changed, and an idle camera speaks too."""
    if not args.get("active"):
        return {}
    values: Values = {"camera": int(args.get("camera_id") or 0)}
    most = _part(args, "zoom").get("zoom_level_max")
    if most:
        values["zoom_most"] = float(most)
    return values


EVENTS: dict[str, Callable[[Mapping[str, Any]], Values]] = {
    "common.CommonState.BatteryStateChanged": lambda a: {"battery_percent": float(a["percent"])},
    "common.CommonState.LinkSignalQuality": _link,
    "wifi.rssi_changed": lambda a: {"rssi_dbm": float(a["rssi"])},
    "ardrone3.PilotingState.FlyingStateChanged": lambda a: {"flying_state": _word(a["state"])},
    "ardrone3.PilotingState.AttitudeChanged": lambda a: {"yaw_deg": math.degrees(a["yaw"])},
    "ardrone3.PilotingState.AltitudeChanged": lambda a: {"height_m": float(a["altitude"])},
    "ardrone3.PilotingState.SpeedChanged": lambda a: {
        "speed_m_s": math.hypot(a["speedX"], a["speedY"])
    },
    "ardrone3.PilotingState.AlertStateChanged": lambda a: {"alert": _word(a["state"])},
    "ardrone3.PilotingState.NavigateHomeStateChanged": lambda a: {
        "returning_home": _word(a["state"]) == "inProgress"
    },
    "rth.state": lambda a: {"returning_home": _word(a["state"]) == "in_progress"},
    "rth.takeoff_location": lambda a: {"takeoff": _place(a)},
    "ardrone3.GPSSettingsState.HomeChanged": lambda a: {"home": _place(a)},
    "ardrone3.PilotingState.GpsLocationChanged": lambda a: {"here": _place(a)},
    "gimbal.attitude": lambda a: {"gimbal_pitch_deg": float(a["pitch_absolute"])},
    "gimbal.max_speed": lambda a: {"gimbal_full_deg_s": float(a["current_pitch"])},
    "ardrone3.SpeedSettingsState.MaxRotationSpeedChanged": lambda a: {
        "yaw_full_deg_s": float(a["current"])
    },
    "ardrone3.SpeedSettingsState.MaxVerticalSpeedChanged": lambda a: {
        "up_full_m_s": float(a["current"])
    },
    "camera.zoom_info": lambda a: {"zoom_most": float(a["maximum_level"])},
    "camera.zoom_level": lambda a: {"zoom_level": float(a["level"])},
    "camera2.Event.ZoomLevel": lambda a: {"zoom_level": float(a.get("level", 1.0))},
    "camera2.Event.State": _camera2,
    "skyctrl.CoPilotingState.pilotingSource": lambda a: {
        "app_pilots": _word(a["source"]) == "Controller"
    },
}
"""Events to subscribe to, and what each says. Speeds are those of a full command."""


def telemetry_of_vmeta(vmeta: Mapping[str, Any]) -> Values:
    """Read the metadata that came inside a picture; a field that is absent is left out."""
    drone, camera = _part(vmeta, "drone"), _part(vmeta, "camera")
    links = vmeta.get("links") or []
    values: Values = {}
    _put(values, "battery_percent", drone.get("battery_percentage"))
    _put(values, "height_m", drone.get("ground_distance"))
    attitude = _quaternion(drone.get("quat"))
    if attitude is not None:
        values["yaw_deg"] = _yaw_deg(attitude)
    speed = drone.get("speed")
    if isinstance(speed, Mapping) and {"north", "east"} <= speed.keys():
        values["speed_m_s"] = math.hypot(speed["north"], speed["east"])
    if isinstance(drone.get("flying_state"), str):
        values["flying_state"] = drone["flying_state"].removeprefix("FS_").lower()
    if drone.get("piloting_mode") == "PM_RETURN_HOME":
        values["returning_home"] = True
    looking = _quaternion(camera.get("quat"))
    if looking is not None:
        values["gimbal_pitch_deg"] = _pitch_deg(looking)
    hfov_rad = camera.get("hfov")
    if isinstance(hfov_rad, (int, float)) and hfov_rad > 0:
        values["horizontal_fov_deg"] = math.degrees(hfov_rad)
    for link in links:
        quality = _part(link, "wifi").get("quality") if isinstance(link, Mapping) else None
        if isinstance(quality, int) and quality > 0:
            values["link_quality"] = (min(quality, 5) - 1) / 4
    return values


def merged(base: Telemetry, values: Values) -> Telemetry:
    """Let the values of a picture stand over what was known."""
    known = {name: getattr(base, name) for name in _FIELDS}
    return Telemetry(**{**known, **{k: v for k, v in values.items() if k in _FIELDS}})


def _part(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = of.get(name)
    return part if isinstance(part, Mapping) else {}


def _put(values: Values, name: str, value: Any) -> None:
    if isinstance(value, (int, float)) and math.isfinite(value):
        values[name] = float(value)


def _quaternion(value: Any) -> tuple[float, float, float, float] | None:
    if not isinstance(value, Mapping) or not {"w", "x", "y", "z"} <= value.keys():
        return None
    w, x, y, z = (float(value[axis]) for axis in "wxyz")
    norm = math.sqrt(w * w + x * x + y * y + z * z)
    return None if norm < 1e-6 else (w / norm, x / norm, y / norm, z / norm)


def _yaw_deg(q: tuple[float, float, float, float]) -> float:
    w, x, y, z = q
    return math.degrees(math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))


def _pitch_deg(q: tuple[float, float, float, float]) -> float:
    w, x, y, z = q
    return math.degrees(math.asin(min(max(2 * (w * y - z * x), -1.0), 1.0)))
