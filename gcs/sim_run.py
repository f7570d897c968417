"""The closed loop in simulated time: frame, tracker, servo, supervisor, sender, simulator.

Every part is the one that flies; only the clock, the link (latency and lost frames) and the
operator are simulated. A run is repeatable: the same trial gives the same figures with the oracle.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from drone.control import RateCommand
from drone.frame import Frame
from drone.sender_core import Mode, Sender, SenderConfig, give, tick
from drone.simulator import SCENARIOS, NightSimulator
from drone.simulator.camera import PinholeCamera
from gcs.follow_config import FollowConfig
from gcs.pilot import GrantError, Pilot
from gcs.session import Phase
from gcs.sim_operator import ON_TARGET_IOU, Operator, View, Wish
from gcs.sim_trials import TARGET, Begin, Follower, Trial
from gcs.situation import ControlLevel
from model.confidence import Level
from model.errors import InputError
from model.geometry import Box, centre_error_px, iou

DRAW_AFTER_S = 1.0
"""The operator draws the box this long after the start."""

SWAY_PERIOD_S = 8.0
LONGEST_S = 600.0


@dataclass
class Sample:
    """One simulated frame interval.

    Attributes:
        time_s: since the start.
        error_px: from the frame's centre to the target's true place; inf behind the camera.
        error_deg: angle between the optical axis and the target.
        in_frame: its true place lies in the frame, whether hidden or not.
        visible: the target has a truth box.
        cle_px: error of the tracker's box against the truth of the same frame.
        command: what the vehicle was sent; None for nothing.
        rule: of the supervisor's newest decision.
        age_ms: of the newest good box when it decided.
    """

    time_s: float
    error_px: float
    error_deg: float
    in_frame: bool
    visible: bool
    cle_px: float | None = None
    command: RateCommand | None = None
    rule: str = ""
    age_ms: float | None = None


@dataclass
class Flown:
    """What one trial brought.

    Attributes:
        trial: what was flown.
        frame_size: width and height, px.
        samples: one a frame interval, from the drawing of the box on.
        events: time s, kind, message; what the supervisor and the operator did.
        confirmations: how often the operator confirmed forward flight.
        grants: how often the operator granted the level, the first time included.
        drawings: how often he drew the box, the first time included.
    """

    trial: Trial
    frame_size: tuple[int, int]
    samples: list[Sample] = field(default_factory=list)
    events: list[tuple[float, str, str]] = field(default_factory=list)
    confirmations: int = 0
    grants: int = 0
    drawings: int = 0


class SimSender:
    """The sender's rule at the simulator's pace; a `VehicleControl`."""

    def __init__(self, clock: Callable[[], int], config: SenderConfig | None = None) -> None:
        self._clock = clock
        self._config = config or SenderConfig()
        self._sender = Sender()

    @property
    def expiry_s(self) -> float:
        """Age at which a command turns neutral by itself."""
        return self._config.expiry_s

    def send(self, command: RateCommand) -> None:
        """Replace the current command."""
        self._sender = give(self._sender, command, self._config)

    def neutral(self) -> None:
        """Hover at once."""
        self.send(RateCommand(issued_ns=self._clock()))

    def tick(self) -> tuple[Mode, RateCommand | None]:
        """Choose what goes out now."""
        self._sender, mode, command = tick(self._sender, self._clock(), self._config)
        return mode, command


class Link:
    """Frames on their way: they arrive late, or not at all; the newest wins."""

    def __init__(self, trial: Trial) -> None:
        self._delay_ns = round(trial.latency_ms * 1e6)
        self._loss = trial.loss
        self._rng = np.random.default_rng(11)
        self._flying: deque[Frame] = deque()

    def put(self, frame: Frame) -> None:
        """Send a frame off."""
        if self._rng.random() >= self._loss:
            self._flying.append(frame)

    def take(self, now_ns: int) -> Frame | None:
        """The newest frame that has arrived and was not taken; older ones are dropped."""
        newest = None
        while self._flying and self._flying[0].captured_ns + self._delay_ns <= now_ns:
            newest = self._flying.popleft()
        return newest


class ClosedLoop:
    """One trial, from the first frame to the last."""

    def __init__(
        self,
        trial: Trial,
        begin: Begin,
        config: FollowConfig | None = None,
        *,
        level: ControlLevel = ControlLevel.FOLLOW,
        width_px: int | None = None,
    ) -> None:
        """Set the scene.

        Args:
            trial: what to fly.
            begin: learns the target: the tracker, or an oracle.
            config: gains and limits.
            level: what the operator grants.
            width_px: another frame width than the scenario's, in the same ratio.
        """
        scenario = SCENARIOS[trial.scenario]
        if width_px is not None:
            height_px = round(scenario.height_px * width_px / scenario.width_px)
            scenario = replace(scenario, width_px=width_px, height_px=height_px)
        self._trial, self._begin, self._level = trial, begin, level
        self._simulator = NightSimulator(scenario, pilot_returns_s=math.inf)
        self._sender = SimSender(self._now)
        self._link = Link(trial)
        self._flown = Flown(trial, (scenario.width_px, scenario.height_px))
        self._pilot = Pilot(self._sender, config, note=self._note, clock=self._now)
        self._follower: Follower | None = None
        self._phase = Phase.IDLE
        self._operator = Operator()
        self._seen: Frame | None = None
        self._box: Box | None = None

    def fly(self, duration_s: float, tell: Callable[[float], None] | None = None) -> Flown:
        """Run the trial.

        Args:
            duration_s: after the box was drawn.
            tell: called with the simulated time of every frame.

        Raises:
            InputError: the duration is out of range, or the target is not in view at first.
        """
        if not 0 < duration_s <= LONGEST_S:
            raise InputError(f"a flight of {duration_s:g} s: expected 0..{LONGEST_S:g} s")
        while (time_s := self._now() / 1e9) < DRAW_AFTER_S + duration_s:
            frame = self._simulator.step()
            self._link.put(frame)
            arrived = self._link.take(self._now())
            sample = self._measure()
            if arrived is not None:
                self._work(arrived, sample)
            self._operate()
            sample.command = self._actuate()
            if self._follower is not None:
                self._flown.samples.append(sample)
            if tell is not None:
                tell(time_s)
        return self._flown

    def _now(self) -> int:
        return self._simulator.now_ns

    def _note(self, kind: str, message: str) -> None:
        self._flown.events.append((self._now() / 1e9, kind, message))

    def _measure(self) -> Sample:
        """Where the target truly is, seen or not."""
        width, height = self._flown.frame_size
        fov = self._simulator.scenario.horizontal_fov_deg
        camera = PinholeCamera(self._simulator.pose, width, height, fov)
        places, depths = camera.project(np.array([self._simulator.target_place_m]))
        dx, dy = places[0] - ((width - 1) / 2, (height - 1) / 2)
        ahead = bool(depths[0] > 0)
        off_px = math.hypot(dx, dy) if ahead else math.inf
        return Sample(
            time_s=self._now() / 1e9,
            error_px=off_px,
            error_deg=math.degrees(math.atan2(off_px, camera.focal_px)) if ahead else 180.0,
            in_frame=ahead and abs(dx) <= width / 2 and abs(dy) <= height / 2,
            visible=self._simulator.seen[TARGET].box is not None,
        )

    def _work(self, frame: Frame, sample: Sample) -> None:
        """What the ground station's loop does with one frame."""
        truth = frame.truth.get(TARGET)
        self._seen = frame
        if self._follower is None:
            if frame.captured_ns / 1e9 >= DRAW_AFTER_S and truth is not None:
                self._simulator.take_over()
                self._draw(frame, Box(*truth))
                self._grant()
            return
        answer = self._follower.update(frame)
        self._box = answer.box
        if truth is not None:
            sample.cle_px = centre_error_px(answer.box, Box(*truth))
        lost = answer.level is Level.LOST
        if lost and self._phase is Phase.TRACKING:
            self._note("lost", "the target is lost")
            self._pilot.reset()
        elif not lost and self._phase is Phase.LOST:
            self._note("found", "the target is found again")
        self._phase = Phase.LOST if lost else Phase.TRACKING
        if lost:
            sample.rule = "tracker_lost"
            self._pilot.gate.neutral()
            return
        decision = self._pilot.decide(frame, answer, self._phase)
        if decision.command is not None:
            self._pilot.gate.send(decision.command)
        status = self._pilot.status
        sample.rule = status.verdict.rule if status.verdict is not None else ""
        sample.age_ms = (self._now() - frame.captured_ns) / 1e6

    def _draw(self, frame: Frame, box: Box) -> None:
        self._follower = self._begin(frame, box)
        self._phase, self._box = Phase.TRACKING, box
        self._pilot.reset()
        self._flown.drawings += 1

    def _grant(self) -> None:
        self._pilot.grant(self._level)
        self._flown.grants += 1

    def _operate(self) -> None:
        """Let the operator answer what his screen shows."""
        if self._follower is None or self._seen is None or self._box is None:
            return
        status = self._pilot.status
        truth = self._seen.truth.get(TARGET)
        on_target = truth is None or iou(self._box, Box(*truth)) >= ON_TARGET_IOU
        view = View(
            now_s=self._now() / 1e9,
            visible=truth is not None,
            held=self._phase is Phase.TRACKING and on_target,
            off=status.level is ControlLevel.OFF,
            unconfirmed=status.verdict is not None and status.verdict.rule == "unconfirmed",
        )
        wish = self._operator.act(view)
        if wish is Wish.DRAW and truth is not None:
            self._note("redrawn", "the operator drew the box anew")
            self._draw(self._seen, Box(*truth))
        elif wish is Wish.GRANT:
            self._grant()
        elif wish is Wish.CONFIRM:
            self._confirm()

    def _confirm(self) -> None:
        try:
            self._pilot.confirm()
        except GrantError as error:
            self._note("not_confirmed", str(error))
        else:
            self._flown.confirmations += 1

    def _actuate(self) -> RateCommand | None:
        """Let the sender's word and the disturbance act on the vehicle."""
        _, command = self._sender.tick()
        sway = self._trial.sway_deg_s * math.sin(2 * math.pi * self._now() / 1e9 / SWAY_PERIOD_S)
        if command is not None or (sway and self._follower is not None):
            told = command or RateCommand()
            # The disturbance is no command: it does not expire.
            issued_ns = self._now() if sway else told.issued_ns
            moved = replace(told, yaw_deg_s=told.yaw_deg_s + sway, issued_ns=issued_ns)
            self._simulator.send(moved)
        return command
