"""A Parrot drone as a station sees it, without the SDK."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from drone.control import RateCommand
from drone.errors import ControlError, SourceError
from drone.frame import Telemetry
from drone.olympe_command import PilotingLimits
from drone.olympe_link import LinkState
from drone.olympe_models import MODELS, AbsentError, OlympeModel, identify
from drone.olympe_remote import SILENT_S, RemoteVehicle
from drone.olympe_rtsp import MediaNameError
from drone.olympe_source import OlympeSource
from drone.olympe_station import station_drone
from drone.olympe_tethered import TetheredSource, TetheredVehicle
from drone.sender import HEALTHY_S, SenderStatus

ANAFI, CONTROLLER = MODELS[0x0914], MODELS[0x0918]
PATIENCE_S = 10.0


def wait_until(true: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline_s, "it did not come true"
        time.sleep(0.01)


def report(overrules: int = 0, **telemetry: Any) -> dict[str, Any]:
    return {"state": "CONNECTED", "overrules": overrules, "telemetry": telemetry}


class FakeSender:
    """A sender process that does what the test says."""

    expiry_s = 0.25

    def __init__(self, refusal: str | None = None) -> None:
        self.refusal = refusal
        self.said = report(battery_percent=80.0)
        self.alive = True
        self.age_s: float | None = 0.01
        self.sent: list[RateCommand] = []
        self.neutrals = self.closed = 0
        self.grace_s: float | None = None

    @property
    def status(self) -> SenderStatus:
        return SenderStatus(self.alive, self.age_s, "SILENT", 0, 0, None, self.said)

    def open(self, timeout_s: float) -> None:
        if self.refusal:
            raise ControlError(self.refusal)

    def send(self, command: RateCommand) -> None:
        self.sent.append(command)

    def neutral(self) -> None:
        self.neutrals += 1

    def close(self, grace_s: float = 2.0) -> None:
        self.closed += 1
        self.grace_s = grace_s


class Bench:
    """A vehicle whose senders come from a list, and what it told."""

    def __init__(self, *senders: FakeSender) -> None:
        self.now_s = 100.0
        self.senders = list(senders)
        self.made: list[FakeSender] = []
        self.overruled = threading.Event()
        self.lines: list[str] = []
        self.vehicle = RemoteVehicle("127.0.0.1", make_sender=self._make, clock=lambda: self.now_s)
        self.made.clear()  # the first one only told its expiry

    def _make(self, ip: str) -> Any:
        at = min(len(self.made), len(self.senders) - 1)
        self.made.append(self.senders[at])
        return self.senders[at]

    def open(self) -> None:
        self.vehicle.open(self.overruled.set, self.lines.append)


@pytest.fixture
def benches() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*senders: FakeSender) -> Bench:
        made.append(Bench(*senders))
        made[-1].open()
        return made[-1]

    yield make
    for bench in made:
        bench.vehicle.close()


def test_commands_pass_once_connected_and_the_drones_state_is_read(
    benches: Callable[..., Bench],
) -> None:
    sender = FakeSender()
    bench = benches(sender)
    wait_until(lambda: bench.vehicle.connected)
    command = RateCommand(yaw_deg_s=3.0, issued_ns=1)
    bench.vehicle.send(command)
    bench.vehicle.neutral()
    assert (sender.sent, sender.neutrals) == ([command], 1)
    assert bench.vehicle.telemetry().battery_percent == 80.0
    assert bench.lines == ["commands reach 127.0.0.1"]


def test_without_a_connection_commands_are_refused_with_the_reason(
    benches: Callable[..., Bench],
) -> None:
    bench = benches(FakeSender("no drone at 127.0.0.1"))
    wait_until(lambda: bench.lines)
    with pytest.raises(ControlError, match=r"no command link \(no drone at 127\.0\.0\.1\)"):
        bench.vehicle.send(RateCommand())
    bench.vehicle.neutral()  # nothing to reach, nothing to fail
    assert bench.vehicle.telemetry().battery_percent is None
    wait_until(lambda: len(bench.made) >= 2)
    assert bench.lines == ["no command link: no drone at 127.0.0.1"]  # told once, tried again


def test_while_the_drone_is_out_of_reach_only_neutral_is_passed_on(
    benches: Callable[..., Bench],
) -> None:
    sender = FakeSender()
    bench = benches(sender)
    wait_until(lambda: bench.vehicle.connected)
    sender.said = {**report(), "state": "WAITING"}
    with pytest.raises(ControlError, match="the command link is down"):
        bench.vehicle.send(RateCommand(yaw_deg_s=3.0, issued_ns=1))
    still = RateCommand(issued_ns=2)
    bench.vehicle.send(still)
    assert sender.sent == [still]


def test_the_pilots_hand_on_the_sticks_is_told_once(benches: Callable[..., Bench]) -> None:
    sender = FakeSender()
    bench = benches(sender)
    wait_until(lambda: bench.vehicle.connected)
    assert not bench.overruled.is_set()
    sender.said = report(overrules=1)
    assert bench.overruled.wait(PATIENCE_S)
    bench.overruled.clear()
    assert not bench.overruled.wait(0.3)


@pytest.mark.parametrize("end", ["dead", "silent", "given up"])
def test_a_sender_that_is_gone_is_replaced(benches: Callable[..., Bench], end: str) -> None:
    first, second = FakeSender(), FakeSender()
    bench = benches(first, second)
    wait_until(lambda: bench.vehicle.connected)
    first.said = report(overrules=4)
    if end == "dead":
        first.alive = False
    elif end == "given up":
        first.said = {**report(), "state": "CLOSED"}
    else:
        first.age_s = 60.0
    wait_until(lambda: first.closed and len(bench.made) == 2 and bench.vehicle.connected)
    bench.vehicle.send(RateCommand())
    assert len(second.sent) == 1
    assert "interrupted" in bench.lines[1]
    assert first.grace_s == 0.0, "nothing that it could still send arrives"


def test_a_sender_that_never_said_a_word_is_replaced(benches: Callable[..., Bench]) -> None:
    first, second = FakeSender(), FakeSender()
    first.age_s = None
    bench = benches(first, second)
    wait_until(lambda: bench.lines)
    assert not bench.vehicle.connected
    bench.now_s += SILENT_S + 0.1
    wait_until(lambda: first.closed and bench.vehicle.connected)
    assert bench.made == [first, second]


def test_a_sender_that_is_not_heard_of_tells_nothing(benches: Callable[..., Bench]) -> None:
    sender = FakeSender()
    bench = benches(sender)
    wait_until(lambda: bench.vehicle.connected)
    sender.age_s = HEALTHY_S + 0.1
    assert bench.vehicle.telemetry() == Telemetry()
    assert not bench.vehicle.connected


def test_behind_a_controller_the_pilots_hand_is_told_once_and_each_change_of_the_link() -> None:
    drone = SimpleNamespace(
        vehicle=SimpleNamespace(overrules=3),
        link=SimpleNamespace(state=LinkState.CONNECTED),
        close=lambda: None,
    )
    overruled: list[int] = []
    lines: list[str] = []
    vehicle = TetheredVehicle(cast(Any, drone))
    vehicle.open(lambda: overruled.append(drone.vehicle.overrules), lines.append)
    wait_until(lambda: lines)
    drone.vehicle.overrules = 4
    wait_until(lambda: overruled)
    drone.link.state = LinkState.WAITING
    wait_until(lambda: len(lines) == 2)
    vehicle.close()
    assert overruled == [4]
    assert lines == ["command link connected", "command link waiting"]


def test_closing_ends_the_process(benches: Callable[..., Bench]) -> None:
    sender = FakeSender()
    bench = benches(sender)
    wait_until(lambda: bench.vehicle.connected)
    bench.vehicle.close()
    bench.vehicle.close()
    assert sender.closed == 1
    assert sender.grace_s > 0, "its zeros are waited for"
    with pytest.raises(ControlError):
        bench.vehicle.send(RateCommand())


def found(model: OlympeModel) -> Callable[[str], OlympeModel]:
    return lambda _ip: model


def absent(_ip: str) -> OlympeModel:
    raise AbsentError("no drone at 1.2.3.4")


def test_a_drone_on_its_own_wifi_gets_a_process_of_its_own() -> None:
    source, vehicle = station_drone("127.0.0.77:9", None, found(ANAFI))
    assert isinstance(source, OlympeSource)
    assert isinstance(vehicle, RemoteVehicle)


def test_behind_a_controller_video_and_commands_share_a_connection() -> None:
    source, vehicle = station_drone("192.168.53.1/Front camera", None, found(CONTROLLER))
    assert isinstance(source, TetheredSource)
    assert isinstance(vehicle, TetheredVehicle)
    assert source.name == "olympe:192.168.53.1"


def test_one_that_is_not_there_yet_is_told_by_its_address() -> None:
    assert isinstance(station_drone("192.168.42.1", None, absent)[1], RemoteVehicle)
    assert isinstance(station_drone("192.168.53.1", None, absent)[1], TetheredVehicle)


def test_a_wrong_model_and_a_wrong_address_are_refused() -> None:
    def wrong(_ip: str) -> OlympeModel:
        raise ControlError("1.2.3.4 is model 0x0905: expected ANAFI")

    with pytest.raises(SourceError, match="model 0x0905: expected ANAFI"):
        station_drone("1.2.3.4", None, wrong)
    with pytest.raises(SourceError, match="not an IPv4 address"):
        station_drone("drone.local", None, found(ANAFI))
    with pytest.raises(SourceError, match="expected olympe:ADDRESS"):
        station_drone("", None, found(ANAFI))


def test_a_media_name_that_the_drone_does_not_offer_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offered(_url: str) -> list[str]:
        return ["Front camera", "Thermal blended"]

    monkeypatch.setattr("drone.olympe_rtsp.offered_media", offered)
    station_drone("1.2.3.4/Thermal blended", None, found(ANAFI))
    with pytest.raises(
        MediaNameError, match=r"no media named 'Rear'.*'Front camera', 'Thermal blended'"
    ):
        station_drone("1.2.3.4/Rear", None, found(ANAFI))
    station_drone("1.2.3.4/Rear", None, absent)  # told when it comes


def test_where_nobody_answers_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.77", 0)) as server:
        port = server.getsockname()[1]
    # The real question, on the loopback net; the port is closed again.
    station_drone("127.0.0.77", None, lambda ip: identify(ip, port=port))
    assert f"no drone at 127.0.0.77: port {port} does not answer" in caplog.text


def test_the_limits_reach_the_process_that_commands() -> None:
    limits = PilotingLimits.of_share(0.35)
    assert (limits.yaw_percent, limits.tilt_percent, limits.gimbal_percent) == (35, 35, 35)
    _, vehicle = station_drone("192.168.42.1", limits, absent)
    assert isinstance(vehicle, RemoteVehicle)
    sender = vehicle._make("192.168.42.1")
    assert sender._options == {"ip": "192.168.42.1", "limits": dataclasses.asdict(limits)}


def test_closing_ends_an_attempt_to_connect(benches: Callable[..., Bench]) -> None:
    class Hanging(FakeSender):
        """Connects until it is closed."""

        def __init__(self) -> None:
            super().__init__()
            self.begun, self.ended = threading.Event(), threading.Event()

        def open(self, timeout_s: float) -> None:
            self.begun.set()
            assert self.ended.wait(PATIENCE_S)
            raise ControlError("the sender ended before it was ready")

        def close(self, grace_s: float = 2.0) -> None:
            super().close(grace_s)
            self.ended.set()

    sender = Hanging()
    bench = benches(sender)
    assert sender.begun.wait(PATIENCE_S)
    bench.vehicle.close()
    assert sender.ended.is_set()
    assert bench.lines == []
