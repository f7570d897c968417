"""The device half of the loopback ANAFI: the SDK's own device side, which a controller connects to.

Run as `python -m tests.olympe.anafi`. It prints one line of JSON for each command that reaches
it: `{"ns": monotonic clock, "name": "ardrone3.Piloting.PCMD", "args": {…}}`. Lines of JSON on
stdin send states: `{"send": "common.CommonState.BatteryStateChanged", "args": {"percent": 9}}`,
or make it another device: `{"become": "skycontroller3", "stubborn": false}`. A controller that
disconnects says no goodbye: the device believes in it for 8 s more, unless told `{"forget": true}`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import threading
import time
from typing import Any

from drone.olympe_sdk import import_olympe
from tests.olympe.say import say

import_olympe()

import olympe_deps as od  # noqa: E402
from olympe import messages  # noqa: E402
from olympe.controllers.device import DeviceBase  # noqa: E402
from olympe.messaging.arsdk_messages import ArsdkMessageType  # noqa: E402

MODELS = {
    "anafi": od.ARSDK_DEVICE_TYPE_ANAFI4K,
    "anafi-usa": od.ARSDK_DEVICE_TYPE_ANAFI_USA,
    "anafi-ai": od.ARSDK_DEVICE_TYPE_ANAFI_2,
    "skycontroller3": od.ARSDK_DEVICE_TYPE_SKYCTRL_3,
    "bebop2": od.ARSDK_DEVICE_TYPE_BEBOP_2,
}
HOVER = {
    "common.CommonState.BatteryStateChanged": {"percent": 87},
    "common.CommonState.LinkSignalQuality": {"value": 0x45},
    "ardrone3.PilotingState.FlyingStateChanged": {"state": "hovering"},
    "ardrone3.PilotingState.AttitudeChanged": {"roll": 0.01, "pitch": -0.02, "yaw": 1.5708},
    "ardrone3.PilotingState.AltitudeChanged": {"altitude": 12.5},
    "ardrone3.PilotingState.SpeedChanged": {"speedX": 3.0, "speedY": 4.0, "speedZ": 0.0},
    "ardrone3.PilotingState.NavigateHomeStateChanged": {"state": "available", "reason": "enabled"},
    "wifi.rssi_changed": {"rssi": -50},
}
REPEATED = ("AttitudeChanged", "AltitudeChanged", "SpeedChanged")
"""A drone says these five times a second."""
SETTINGS = {
    "ardrone3.PilotingSettingsState.MaxTiltChanged": {"current": 20.0, "min": 1.0, "max": 40.0},
    "ardrone3.SpeedSettingsState.MaxRotationSpeedChanged": {
        "current": 40.0,
        "min": 3.0,
        "max": 200.0,
    },
    "ardrone3.SpeedSettingsState.MaxVerticalSpeedChanged": {
        "current": 2.0,
        "min": 0.1,
        "max": 4.0,
    },
    "gimbal.max_speed": {
        "gimbal_id": 0,
        **{f"min_bound_{axis}": 1.0 for axis in ("yaw", "pitch", "roll")},
        **{f"max_bound_{axis}": 180.0 for axis in ("yaw", "pitch", "roll")},
        **{f"current_{axis}": 30.0 for axis in ("yaw", "pitch", "roll")},
        "list_flags": 0,
    },
    "camera.zoom_info": {
        "cam_id": 0,
        "available": "available",
        "high_quality_maximum_level": 1.4,
        "maximum_level": 3.0,
        "list_flags": 0,
    },
}


CAMERAS2 = (
    {"camera_id": 0, "active": False, "zoom": {"zoom_level_max": 1.0}},
    {"camera_id": 1, "active": True, "zoom": {"zoom_level_max": 6.0}},
)
"""An ANAFI Ai's cameras, of which the second is looked through."""


def message_of(name: str) -> Any:
    """`ardrone3.Piloting.PCMD` → the SDK's message."""
    found: Any = messages
    for part in name.split("."):
        found = getattr(found, part)
    return found


class LoopbackAnafi(DeviceBase):
    """Answers as a drone in hover does, and reports every command."""

    def __init__(self, model: str, port: int, stubborn: bool) -> None:
        super().__init__(name="loopback", dcport=port, drone_type=MODELS[model])
        self._is_skyctrl = model.startswith("skycontroller")
        self._stubborn = stubborn
        self._subscription = self.subscribe(self._on_event, None)

    def _reset_instance(self) -> None:
        super()._reset_instance()
        # The SDK's device keeps a peer that has left, and would refuse every later one.
        self._peer = None

    def emit(self, name: str, **args: Any) -> None:
        message = message_of(name)
        # The SDK encodes arguments in the order that they come in, whatever their names; those of
        # its newer messages may be left out.
        ordered = {key: args[key] for key in message.args_name if key in args}
        self._send_command_raw(message, ordered, quiet=True)

    def repeat_states(self) -> None:
        """Say what a drone says again and again; nothing without a controller."""
        if self._peer is not None:
            self._emit_all({k: v for k, v in HOVER.items() if k.endswith(REPEATED)})

    def _on_event(self, event: Any, _controller: Any) -> None:
        message = getattr(event, "message", None)
        if message is None or message.message_type is ArsdkMessageType.EVT:
            return
        args = {key: getattr(value, "name", value) for key, value in event.args.items()}
        say(ns=time.monotonic_ns(), name=message.fullName, args=args)
        self._answer(message.fullName, args)

    def _answer(self, name: str, args: dict[str, Any]) -> None:
        if name == "common.Common.AllStates":
            self._emit_all(HOVER)
            self.emit("common.CommonState.AllStatesChanged")
        elif name == "common.Settings.AllSettings":
            self._emit_all(SETTINGS)
            self.emit("common.SettingsState.AllSettingsChanged")
        elif name == "skyctrl.Common.AllStates":
            self.emit("skyctrl.CoPilotingState.pilotingSource", source="SkyController")
            self._emit_all(HOVER | SETTINGS)
            self.emit("skyctrl.CommonState.AllStatesChanged")
        elif name == "skyctrl.Settings.AllSettings":
            self.emit("skyctrl.SettingsState.AllSettingsChanged")
        elif name == "skyctrl.CoPiloting.setPilotingSource":
            self.emit("skyctrl.CoPilotingState.pilotingSource", source=args["source"])
        elif name == "camera.set_streaming_mode":
            mode = "high_reliability" if self._stubborn else args["value"]
            self.emit("camera.streaming_mode", cam_id=0, value=mode, list_flags=0)
        elif name == "rth.set_delay":
            self.emit("rth.delay", delay=args["delay"], min=0, max=120)
        elif name == "rth.set_auto_trigger_mode":
            self.emit("rth.auto_trigger_mode", mode=args["mode"])
        elif name == "rth.set_ending_behavior":
            self.emit("rth.ending_behavior", ending_behavior=args["ending_behavior"])
        elif name == "camera2.Command.ListCameras":
            self.emit("camera2.Event.CameraList", cameras=dict.fromkeys((0, 1), "main"))
        elif name == "camera2.Command.GetState":
            self.emit("camera2.Event.State", **CAMERAS2[args["camera_id"]])
        elif name == "camera2.Command.SetZoomTarget":
            one = {"camera_id": args["camera_id"], "level": args["target"]}
            self.emit("camera2.Event.ZoomLevel", **one)
        elif name == "camera.set_zoom_target":
            level = args["target"]
            self.emit("camera.zoom_level", cam_id=0, level=level, list_flags=0)

    def _emit_all(self, states: dict[str, dict[str, Any]]) -> None:
        for name, args in states.items():
            self.emit(name, **args)


def start(model: str, port: int, stubborn: bool) -> LoopbackAnafi:
    device = LoopbackAnafi(model, port, stubborn)
    say(ready=bool(device.listen().result_or_cancel(timeout=5)))
    return device


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=44444)
    args = parser.parse_args()
    device = start("anafi", args.port, False)

    def repeat() -> None:
        while True:
            time.sleep(0.2)
            with contextlib.suppress(Exception):  # the controller may leave at any moment
                device.repeat_states()

    threading.Thread(target=repeat, daemon=True).start()
    for line in sys.stdin:
        order = json.loads(line)
        if "forget" in order:
            device.disconnect()
            say(forgot=True)
        elif "become" in order:
            device.destroy()
            device = start(order["become"], args.port, order["stubborn"])
        else:
            device.emit(order["send"], **order["args"])


if __name__ == "__main__":
    main()
