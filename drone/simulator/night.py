"""The night simulator: a frame source and a vehicle in one, with ground truth for every frame."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from drone.control import RateCommand
from drone.errors import ControlError, SourceError
from drone.frame import Frame, Telemetry
from drone.latest import LatestFrame
from drone.simulator.actors import build_traffic
from drone.simulator.camera import CameraPose
from drone.simulator.flight import CommandQueue, FlightDynamics, FlightState, Wind, fly
from drone.simulator.ground import Ground, bake_ground
from drone.simulator.pilot import Pilot, start_pose
from drone.simulator.renderer import NightRenderer, Seen
from drone.simulator.scenarios import Scenario, scenario_by_name
from drone.simulator.streets import WORLD_M
from drone.simulator.world import World, build_world

_SUBSTEP_S = 1 / 60
_EXPOSURE_S = 1 / 60
_ENDURANCE_S = 1500.0
_LATE_FRAMES = 5
_TARGET_MIDDLE_M = 0.7


class NightSimulator:
    """A drone over a night town, drawn by code.

    Two ways to run it. Live: `open`, `read`, `close`; a thread draws at the scenario's frame rate
    and the newest frame wins. Stepped: `step` moves the simulated clock and returns the frame, for
    tests and benchmarks. Commands work the same in both; `now_ns` is the clock they are timed by.

    While nobody commands it the scenario's pilot flies. The first command that is not neutral
    takes over; from then on the drone does what it is told, and hovers when commands expire. The
    pilot returns after `pilot_returns_s` without a command.
    """

    live = True

    def __init__(
        self,
        scenario: str | Scenario = "default",
        *,
        dynamics: FlightDynamics | None = None,
        pilot_returns_s: float = 10.0,
    ) -> None:
        """Set the scene; it is drawn and lit on first use.

        Args:
            scenario: a name of `scenarios.SCENARIOS`, or settings of your own.
            dynamics: delay, expiry, inertia and limits of the drone.
            pilot_returns_s: silence after which the scripted pilot flies again; inf: never.

        Raises:
            SourceError: unknown scenario.
        """
        if isinstance(scenario, str):
            scenario = scenario_by_name(scenario)
        self.scenario = scenario
        self._dynamics = dynamics or FlightDynamics()
        self._pilot_returns_s = pilot_returns_s
        self._lock = threading.Lock()
        self._slot = LatestFrame(self.name)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._renderer: NightRenderer | None = None
        self._reset()

    def _reset(self) -> None:
        """Return to the first moment of the scenario."""
        self._traffic = build_traffic(self.scenario)
        self._wind = Wind(self.scenario.wind_m_s, self.scenario.seed + 4)
        self._pilot = Pilot(self.scenario)
        self._flight = FlightState(start_pose(self.scenario, self._traffic.target))
        self._home = self._flight.pose
        self._commands = CommandQueue(self._dynamics)
        self._commanded_ns: int | None = None
        self._time_s = 0.0
        self._number = 0
        self._clock_ns: Callable[[], int] = self._simulated_ns
        self.seen: dict[str, Seen] = {}

    @property
    def name(self) -> str:
        """`simulator:` and the scenario."""
        return f"simulator:{self.scenario.name}"

    @property
    def expiry_s(self) -> float:
        """Age at which a command turns neutral."""
        return self._dynamics.expiry_s

    @property
    def now_ns(self) -> int:
        """The clock of commands and frames: the host's when live, else the simulated one."""
        return self._clock_ns()

    @property
    def pose(self) -> CameraPose:
        """Where the camera is."""
        return self._flight.pose

    @property
    def target_place_m(self) -> tuple[float, float, float]:
        """Where the target is, whether it is seen or not; x, y, z of the world, m."""
        target = self._traffic.target
        return target.x_m, target.y_m, _TARGET_MIDDLE_M

    @property
    def dropped(self) -> int:
        """Frames that were drawn or due and never read."""
        return self._slot.dropped

    def send(self, command: RateCommand) -> None:
        """Give a rate command; see `VehicleControl.send`.

        Raises:
            ControlError: the simulator was closed, or a rate is not finite.
        """
        if self._closed:
            raise ControlError(f"{self.name}: closed; open it before sending commands")
        now_ns = self.now_ns
        self._commands.send(command, now_ns)
        if not command.is_neutral:
            self._commanded_ns = now_ns

    def neutral(self) -> None:
        """Drop all commands: hover and hold the gimbal."""
        self._commands.neutral(self.now_ns)

    def take_over(self) -> None:
        """Let its own pilot go, as the first command that moves does: it hovers from now on."""
        self._commanded_ns = self.now_ns

    def open(self) -> None:
        """Start drawing in real time, from the scenario's first moment."""
        self.close()
        self._closed = False
        self._reset()
        self._prepare()
        self._clock_ns = time.monotonic_ns
        self._stop = threading.Event()
        self._slot = LatestFrame(self.name)
        args = (self._slot, self._stop)
        self._thread = threading.Thread(target=self._run, args=args, name="simulator", daemon=True)
        self._thread.start()

    def read(self, timeout_s: float) -> Frame | None:
        """Wait for a frame not yet read; see `FrameSource.read`."""
        return self._slot.take(timeout_s)

    def close(self) -> None:
        """Stop the thread; commands are refused until `open`."""
        self._closed = True
        self._stop.set()
        self._slot.end()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(2.0)

    def step(self, dt_s: float | None = None) -> Frame:
        """Move the simulated clock by `dt_s` (one frame interval by default) and draw.

        Raises:
            SourceError: it runs in real time (`open` was called).
        """
        if self._thread is not None:
            raise SourceError(f"{self.name}: runs in real time; close it before stepping")
        self._closed = False
        self._clock_ns = self._simulated_ns
        self._prepare()
        self._advance(1 / self.scenario.fps if dt_s is None else dt_s)
        return self._draw(self.now_ns)

    def _simulated_ns(self) -> int:
        return round(self._time_s * 1e9)

    def _prepare(self) -> None:
        if self._renderer is None:
            s = self.scenario
            world, ground = _scene(s.seed, s.tree_gap_m, s.tree_radius_m)
            self._renderer = NightRenderer(self.scenario, world, ground)

    def _run(self, slot: LatestFrame, stop: threading.Event) -> None:
        """Draw until `stop`, at the pace of the clock; what cannot be drawn in time is skipped."""
        try:
            start_ns = time.monotonic_ns()
            period_ns = 1e9 / self.scenario.fps
            while not stop.is_set():
                due_ns = start_ns + int(self._number * period_ns)
                now_ns = time.monotonic_ns()
                if now_ns < due_ns:
                    stop.wait((due_ns - now_ns) / 1e9)
                    continue
                late = int((now_ns - due_ns) / period_ns)
                if late > _LATE_FRAMES * self.scenario.fps:
                    start_ns += now_ns - due_ns  # the machine slept: go on where it stopped
                    late = 0
                for _ in range(late):
                    self._advance(1 / self.scenario.fps)
                    self._number += 1
                self._advance(1 / self.scenario.fps)
                slot.put(self._draw(time.monotonic_ns()))
        except Exception as error:
            slot.end(SourceError(f"{self.name}: drawing failed: {error!r}"))
            raise

    def _advance(self, dt_s: float) -> None:
        """Move the world and the drone by `dt_s`."""
        steps = max(1, math.ceil(dt_s / _SUBSTEP_S - 1e-9))
        for _ in range(steps):
            h = dt_s / steps
            self._time_s += h
            self._traffic.step(h)
            command = self._command()
            pose = self._wind.blow(self._flight.pose, h)
            blown = replace(self._flight, pose=pose)
            self._flight = fly(blown, command, h, self._dynamics, WORLD_M)

    def _command(self) -> RateCommand:
        now_ns = self.now_ns
        command = self._commands.current(now_ns)
        if self._commanded_ns is not None:
            if (now_ns - self._commanded_ns) / 1e9 < self._pilot_returns_s:
                return command
            self._commanded_ns = None
        return self._pilot.fly(self._flight, self._traffic.target, self._time_s)

    def _draw(self, captured_ns: int) -> Frame:
        assert self._renderer is not None
        flight = self._flight
        camera = self._renderer.camera(flight.pose)
        # Yaw turns the picture around the vertical: at its middle it moves by the part that is
        # across the line of sight.
        px_s = camera.focal_px * math.pi / 180
        across = math.cos(math.radians(flight.pose.pitch_deg))
        smear_px = (
            flight.yaw_deg_s * across * px_s * _EXPOSURE_S,
            flight.gimbal_deg_s * px_s * _EXPOSURE_S,
        )
        image, self.seen = self._renderer.render(
            flight.pose, self._traffic.actors, self._number, smear_px
        )
        frame = Frame(
            number=self._number,
            image=image,
            captured_ns=captured_ns,
            source_ns=self._simulated_ns(),
            truth={name: seen.box for name, seen in self.seen.items()},
            telemetry=self._telemetry(),
        )
        self._number += 1
        return frame

    def _telemetry(self) -> Telemetry:
        pose = self._flight.pose
        return Telemetry(
            yaw_deg=pose.yaw_deg,
            gimbal_pitch_deg=pose.pitch_deg,
            height_m=pose.height_m,
            home_distance_m=math.hypot(pose.x_m - self._home.x_m, pose.y_m - self._home.y_m),
            speed_m_s=self._flight.speed_m_s,
            battery_percent=max(0.0, 100.0 * (1 - self._time_s / _ENDURANCE_S)),
            link_quality=1.0,
            flying_state="flying" if self._flight.speed_m_s > 0.3 else "hovering",
            horizontal_fov_deg=self.scenario.horizontal_fov_deg,
        )


@lru_cache(maxsize=1)
def _scene(seed: int, tree_gap_m: float, tree_radius_m: float) -> tuple[World, Ground]:
    """Lay out and light a world; the last one is kept (66 MB), so that reopening is quick."""
    scenario = Scenario(seed=seed, tree_gap_m=tree_gap_m, tree_radius_m=tree_radius_m)
    world = build_world(scenario)
    return world, bake_ground(world, seed)
