from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drone.control import RateCommand
from drone.errors import ControlError
from drone.sender import SenderProcess
from drone.sender_core import Mode, Sender, SenderConfig, give, pack, tick, unpack

MS = 1_000_000
START_NS = 10**12
PATIENCE_S = 20.0
CONFIG = SenderConfig()

PARENT = """
    import sys, time
    from drone.control import RateCommand
    from drone.sender import SenderProcess

    sender = SenderProcess("drone.datagram_link:DatagramLink", {"port": int(sys.argv[1])})
    sender.open(timeout_s=15)
    print(sender.pid, flush=True)
    while True:
        sender.send(RateCommand(yaw_deg_s=12.5, issued_ns=time.monotonic_ns()))
        time.sleep(0.03)
"""


class Vehicle:
    """The receiving end: every datagram, in order."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.got: list[dict[str, Any]] = []

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        self.socket.settimeout(timeout_s)
        try:
            self.got.append(json.loads(self.socket.recv(4096)))
        except TimeoutError:
            return None
        return self.got[-1]

    def receive_until(self, wanted: Any) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            command = self.receive(0.5)
            if command is not None and wanted(command):
                return command
        pytest.fail(f"not received; the last were {self.got[-3:]}")

    def receive_all(self, quiet_s: float) -> None:
        while self.receive(quiet_s) is not None:
            pass


def moves(command: dict[str, Any]) -> bool:
    rates = ("yaw_deg_s", "gimbal_pitch_deg_s", "forward_m_s", "right_m_s", "up_m_s")
    return any(command[rate] for rate in rates)


def rests(command: dict[str, Any]) -> bool:
    return not moves(command)


@pytest.fixture
def vehicle() -> Iterator[Vehicle]:
    one = Vehicle()
    yield one
    one.socket.close()


@pytest.fixture
def parent(vehicle: Vehicle) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(vehicle.port)],
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    if process.poll() is None:
        process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def child_of(parent: subprocess.Popen[str]) -> int:
    assert parent.stdout is not None
    return int(parent.stdout.readline())


def ends(pid: int) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{pid}/stat").read_text()
        if stat.rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def check_expiry(vehicle: Vehicle, expiry_s: float = CONFIG.expiry_s) -> None:
    """No command that moves went out after its expiry; afterwards come zeros.

    A datagram's `sent_ns` is taken after the decision, so a machine under load may add to it: the
    sender's rule itself is exact and is checked by the property tests below.
    """
    last_move = max(i for i, command in enumerate(vehicle.got) if moves(command))
    zeros = vehicle.got[last_move + 1 :]
    assert len(zeros) >= 3
    assert all(rests(command) for command in zeros)
    live = vehicle.got[last_move]
    assert (live["sent_ns"] - live["issued_ns"]) / 1e9 <= expiry_s + 1.0
    assert (zeros[0]["sent_ns"] - live["issued_ns"]) / 1e9 <= expiry_s + 1.0


def test_a_killed_parent_ends_in_zeros_then_silence(
    vehicle: Vehicle, parent: subprocess.Popen[str]
) -> None:
    pid = child_of(parent)
    vehicle.receive_until(moves)
    parent.send_signal(signal.SIGKILL)
    vehicle.receive_until(rests)
    vehicle.receive_all(quiet_s=0.5)
    check_expiry(vehicle)
    assert ends(pid)


def test_a_stopped_parent_ends_in_zeros_and_may_come_back(
    vehicle: Vehicle, parent: subprocess.Popen[str]
) -> None:
    child_of(parent)
    vehicle.receive_until(moves)
    parent.send_signal(signal.SIGSTOP)
    first_zero = vehicle.receive_until(rests)
    vehicle.receive_all(quiet_s=0.5)
    check_expiry(vehicle)
    # The pipe's backlog is expired: only what is issued after the pause may move the vehicle.
    parent.send_signal(signal.SIGCONT)
    again = vehicle.receive_until(moves)
    assert again["issued_ns"] > first_zero["sent_ns"]


def test_a_stopped_sender_does_not_replay_what_it_missed(
    vehicle: Vehicle, parent: subprocess.Popen[str]
) -> None:
    pid = child_of(parent)
    vehicle.receive_until(moves)
    os.kill(pid, signal.SIGSTOP)
    vehicle.receive_all(quiet_s=0.3)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    time.sleep(2 * CONFIG.expiry_s)
    seen = len(vehicle.got)
    os.kill(pid, signal.SIGCONT)
    vehicle.receive_until(rests)
    vehicle.receive_all(quiet_s=0.5)
    assert [c for c in vehicle.got[seen + 1 :] if moves(c)] == []
    assert ends(pid)


def test_a_silent_parent_gets_zeros_then_silence(vehicle: Vehicle) -> None:
    with SenderProcess("drone.datagram_link:DatagramLink", {"port": vehicle.port}) as sender:
        sender.send(RateCommand(forward_m_s=1.5, issued_ns=time.monotonic_ns()))
        vehicle.receive_until(moves)
        vehicle.receive_until(rests)
        vehicle.receive_all(quiet_s=0.5)
        check_expiry(vehicle)
        deadline = time.monotonic() + PATIENCE_S
        while sender.status.mode != Mode.SILENT.value and time.monotonic() < deadline:
            time.sleep(0.02)
        assert sender.status.mode == Mode.SILENT.value
        assert sender.status.alive
        assert sender.status.sent == len(vehicle.got)


def test_neutral_takes_the_place_of_a_live_command(vehicle: Vehicle) -> None:
    with SenderProcess("drone.datagram_link:DatagramLink", {"port": vehicle.port}) as sender:
        sender.send(RateCommand(yaw_deg_s=9.0, issued_ns=time.monotonic_ns()))
        vehicle.receive_until(moves)
        sender.neutral()
        vehicle.receive_until(rests)
        vehicle.receive_all(quiet_s=0.5)
        # The first command would have been live for longer: nothing of it came after the zeros.
        first = next(i for i, command in enumerate(vehicle.got) if rests(command))
        assert all(rests(command) for command in vehicle.got[first:])


def test_values_arrive_clamped_and_whole(vehicle: Vehicle) -> None:
    with SenderProcess("drone.datagram_link:DatagramLink", {"port": vehicle.port}) as sender:
        issued_ns = time.monotonic_ns()
        sender.send(RateCommand(500.0, -500.0, 3.0, -99.0, 0.25, issued_ns))
        command = vehicle.receive_until(moves)
    assert command["yaw_deg_s"] == CONFIG.most_yaw_deg_s
    assert command["gimbal_pitch_deg_s"] == -CONFIG.most_gimbal_pitch_deg_s
    assert command["forward_m_s"] == 3.0
    assert command["right_m_s"] == -CONFIG.most_speed_m_s
    assert command["up_m_s"] == 0.25
    assert command["issued_ns"] == issued_ns


def test_closing_sends_zeros_and_leaves_no_process(vehicle: Vehicle) -> None:
    sender = SenderProcess("drone.datagram_link:DatagramLink", {"port": vehicle.port})
    sender.open()
    pid = sender.pid
    assert pid is not None
    sender.send(RateCommand(yaw_deg_s=9.0, issued_ns=time.monotonic_ns()))
    vehicle.receive_until(moves)
    sender.close()
    sender.close()
    assert ends(pid)
    vehicle.receive_all(quiet_s=0.2)
    check_expiry(vehicle)
    with pytest.raises(ControlError, match="not open"):
        sender.send(RateCommand())
    sender.neutral()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_sender_that_is_told_to_end_sends_its_zeros_first(vehicle: Vehicle, number: int) -> None:
    with SenderProcess("drone.datagram_link:DatagramLink", {"port": vehicle.port}) as sender:
        pid = sender.pid
        assert pid is not None
        sender.send(RateCommand(yaw_deg_s=9.0, issued_ns=time.monotonic_ns()))
        vehicle.receive_until(moves)
        os.kill(pid, number)
        vehicle.receive_until(rests)
        vehicle.receive_all(quiet_s=0.5)
        check_expiry(vehicle)
        assert ends(pid)


def test_a_key_at_the_terminal_does_not_reach_the_sender(vehicle: Vehicle) -> None:
    with SenderProcess("drone.datagram_link:DatagramLink", {"port": vehicle.port}) as sender:
        assert sender.pid is not None
        assert os.getsid(sender.pid) == sender.pid != os.getsid(0)


def test_the_vehicle_is_given_back_at_the_end(
    vehicle: Vehicle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "goodbye_link.py").write_text(
        textwrap.dedent(
            """
            from drone.datagram_link import DatagramLink

            class Link(DatagramLink):
                def close(self):
                    self._socket.send(b'{"goodbye": true}')
                    super().close()
            """
        )
    )
    known = os.environ.get("PYTHONPATH")
    path = str(tmp_path) if known is None else f"{tmp_path}{os.pathsep}{known}"
    monkeypatch.setenv("PYTHONPATH", path)
    with SenderProcess("goodbye_link:Link", {"port": vehicle.port}) as sender:
        sender.send(RateCommand(yaw_deg_s=9.0, issued_ns=time.monotonic_ns()))
        vehicle.receive_until(moves)
    vehicle.receive_until(lambda said: said.get("goodbye"))
    assert all(rests(command) for command in vehicle.got[-4:-1])


def test_a_killed_sender_shows(vehicle: Vehicle) -> None:
    with SenderProcess("drone.datagram_link:DatagramLink", {"port": vehicle.port}) as sender:
        assert sender.pid is not None
        os.kill(sender.pid, signal.SIGKILL)
        assert ends(sender.pid)
        with pytest.raises(ControlError, match="ended with code"):
            sender.send(RateCommand(yaw_deg_s=1.0, issued_ns=time.monotonic_ns()))
        assert not sender.status.healthy


def test_a_vehicle_out_of_reach_is_refused() -> None:
    sender = SenderProcess("drone.datagram_link:DatagramLink", {"port": 9, "host": "256.1.1.1"})
    with pytest.raises(ControlError, match=r"bridge at 256\.1\.1\.1:9"):
        sender.open()
    assert sender.pid is None


def test_an_unknown_link_is_refused() -> None:
    sender = SenderProcess("drone.no_such_link:Link")
    with pytest.raises(ControlError, match="no_such_link"):
        sender.open()


@pytest.mark.parametrize(
    ("field", "value"),
    [("rate_hz", 10.0), ("rate_hz", 50.0), ("expiry_s", 0.1), ("expiry_s", math.nan)],
)
def test_a_config_out_of_range_names_the_field(field: str, value: float) -> None:
    with pytest.raises(ControlError, match=f"{field} is"):
        SenderConfig(**{field: value})


def test_nothing_goes_out_before_the_first_command() -> None:
    assert tick(Sender(), START_NS, CONFIG)[1:] == (Mode.SILENT, None)


def test_the_life_of_one_command() -> None:
    sender = give(Sender(), RateCommand(yaw_deg_s=5.0, issued_ns=START_NS), CONFIG)
    modes = []
    for at_ms in (0, 250, 251, 275, 1251, 1252, 5000):
        sender, mode, command = tick(sender, START_NS + at_ms * MS, CONFIG)
        modes.append(mode)
        assert (command is None) == (mode is Mode.SILENT)
        if mode is Mode.ZEROS:
            assert command is not None
            assert command.is_neutral
    expected = [Mode.ACTIVE] * 2 + [Mode.ZEROS] * 3 + [Mode.SILENT] * 2
    assert modes == expected


def test_a_command_from_the_future_is_not_believed() -> None:
    sender = give(Sender(), RateCommand(yaw_deg_s=5.0, issued_ns=START_NS + 10**9), CONFIG)
    _, mode, command = tick(sender, START_NS, CONFIG)
    assert mode is Mode.ZEROS
    assert command is not None
    assert command.is_neutral


def test_neutral_that_is_renewed_keeps_the_vehicle_in_hand() -> None:
    sender = Sender()
    for step in range(100):
        now_ns = START_NS + step * 100 * MS
        sender = give(sender, RateCommand(issued_ns=now_ns), CONFIG)
        sender, mode, _ = tick(sender, now_ns + 50 * MS, CONFIG)
        assert mode is Mode.ZEROS


rate = st.floats(allow_nan=True, allow_infinity=True, width=64)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.integers(0, 400)),
        st.tuples(st.just("give"), st.tuples(rate, rate, rate, rate, rate, st.integers(0, 400))),
    ),
    max_size=60,
)


@given(steps)
def test_any_history_keeps_age_limits_and_numbers(history: list[Any]) -> None:
    sender, now_ns = Sender(), START_NS
    for kind, what in history:
        if kind == "give":
            *rates, age_ms = what
            sender = give(sender, RateCommand(*rates, issued_ns=now_ns - age_ms * MS), CONFIG)
            continue
        now_ns += what * MS
        sender, mode, out = tick(sender, now_ns, CONFIG)
        if out is None:
            continue
        values = (out.yaw_deg_s, out.gimbal_pitch_deg_s, out.forward_m_s, out.right_m_s, out.up_m_s)
        assert all(math.isfinite(value) for value in values)
        assert abs(out.yaw_deg_s) <= CONFIG.most_yaw_deg_s
        assert max(abs(value) for value in values[2:]) <= CONFIG.most_speed_m_s
        if not out.is_neutral:
            assert mode is Mode.ACTIVE
            assert now_ns - out.issued_ns <= CONFIG.expiry_s * 1e9
    # Tick on at the sender's own pace: every history ends in silence.
    for _ in range(math.ceil((CONFIG.expiry_s + CONFIG.zeros_s) * 1000 / 25) + 2):
        now_ns += 25 * MS
        sender, mode, out = tick(sender, now_ns, CONFIG)
    assert (mode, out) == (Mode.SILENT, None)


@given(rate, st.integers(0, 2**62))
def test_a_record_is_read_back_as_it_was_written(value: float, issued_ns: int) -> None:
    command = RateCommand(value, 1.0, -2.0, 0.5, -0.25, issued_ns)
    back = unpack(pack(command))
    assert math.isnan(back.yaw_deg_s) if math.isnan(value) else back == command
