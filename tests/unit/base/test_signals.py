"""The end of a run: by signals, by its limit, with what is under way in threads."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

import pytest

from harness.base import signals
from harness.base.signals import Alarm, cleaning_up, limited, listen, threads, uninterrupted
from harness.base.wait import NotYet, wait_until

ROOT = Path(__file__).parents[3]


class Exited(BaseException):
    """Stands in for the end of the process."""


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Handlers as they were, and no real end of the process."""

    def leave(code: int) -> None:
        raise Exited(code)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(signals, "kill_children", lambda: None)
    monkeypatch.setattr(signals, "_drop_closed_streams", lambda: None)
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    for number in signals.SIGNALS:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def no_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals that a test sends at once are as many presses."""
    monkeypatch.setattr(signals, "ECHO", 0.0)


def press(number: int = signal.SIGINT) -> None:
    # To this thread: one that the process gets may reach another, and this one a little later.
    signal.raise_signal(number)


class TestListen:
    @pytest.mark.parametrize("number", signals.SIGNALS)
    def test_ends_the_run(self, number: int) -> None:
        listen()
        with pytest.raises(KeyboardInterrupt):
            press(number)

    def test_two_of_one_moment_are_one(self) -> None:
        """tox sends a Ctrl-C on that the terminal has sent to the run already."""
        listen()
        with pytest.raises(KeyboardInterrupt):
            press()
        press()

    @pytest.mark.usefixtures("no_echo")
    def test_each_further_one_ends_what_goes_on(self) -> None:
        listen()
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                press()

    def test_a_run_in_the_background_ignores_ctrl_c(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        listen()
        press()
        with pytest.raises(KeyboardInterrupt):
            press(signal.SIGTERM)


WITH_A_TERMINAL = """
import fcntl, signal, sys, termios
from pathlib import Path
from harness.base.signals import listen, uninterrupted
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
listen()
try:
    print("ready", flush=True)
    signal.pause()
except KeyboardInterrupt:
    with uninterrupted("jh-1", print):
        print("cleaning up", flush=True)
        Path(sys.argv[1]).write_text("cleaned up")
"""


def test_a_terminal_that_closes_ends_the_run_which_cleans_up(tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    person, terminal = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-c", WITH_A_TERMINAL, cleaned],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        cwd=ROOT,
    )
    os.close(terminal)
    assert b"ready" in os.read(person, 100)
    os.close(person)
    code = run.wait(20)
    assert code == 0, f"its terminal closed, and the run ended with {code} in place of cleaning up"
    assert cleaned.read_text() == "cleaned up"


RUN = """
import os, signal, sys, threading
from pathlib import Path
from harness.base.signals import listen, uninterrupted
listen()
enough = threading.Event()
signal.signal(signal.SIGWINCH, lambda *_: enough.set())
here = Path(sys.argv[1])
try:
    (here / "pid").write_text(str(os.getpid()))
    print("ready", flush=True)
    enough.wait(20)
    (here / "end").write_text("nothing ended it")
except KeyboardInterrupt:
    with uninterrupted("jh-1", print):
        print("cleaning up", flush=True)
        (here / "end").write_text("cleaned up")
"""
"""A run, which prints to its parent while it cleans up."""
WAITING = """
import subprocess, sys
run = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], stdout=subprocess.PIPE)
print(run.stdout.readline().decode(), end="", flush=True)
run.wait()
"""
"""A parent that waits for its run and reads what it prints, as tox does."""
FROM_A_THREAD = """
import subprocess, sys, threading
def start():
    global run, line
    run = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], stdout=subprocess.PIPE)
    line = run.stdout.readline().decode()
thread = threading.Thread(target=start)
thread.start()
thread.join()
print(line, end="", flush=True)
sys.stdin.read()
"""
"""A parent whose thread that started the run ends."""


class TestParent:
    """The program that started a run dies, or seems to."""

    @pytest.fixture
    def start(self, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
        """Starts a parent, and with it a run, which has begun to listen when this returns."""
        begun: list[subprocess.Popen[bytes]] = []

        def start(*parent: str) -> subprocess.Popen[bytes]:
            command = [*parent, RUN, str(tmp_path)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
            begun.append(process)
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            return process

        yield start
        for process in begun:
            with process:
                process.kill()
        with suppress(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

    def end(self, tmp_path: Path) -> str:
        """How the run ended."""
        pid = (tmp_path / "pid").read_text()

        def over() -> bool | NotYet:
            status = Path(f"/proc/{pid}/status")
            # Nothing may be there to reap it.
            return not status.exists() or "State:\tZ" in status.read_text() or NotYet("it runs")

        wait_until("the end of the run", over, timeout=30)
        end = tmp_path / "end"
        return end.read_text() if end.exists() else "it was killed"

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_a_run_cleans_up_when_the_program_that_waits_for_it_dies(
        self, start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, number: int
    ) -> None:
        start(sys.executable, "-c", WAITING).send_signal(number)
        assert self.end(tmp_path) == "cleaned up"

    def test_a_run_outlives_the_thread_that_started_it(
        self, start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
    ) -> None:
        parent = start(sys.executable, "-c", FROM_A_THREAD)
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGWINCH)
        assert self.end(tmp_path) == "nothing ended it"
        assert parent.poll() is None

    def test_a_run_in_the_background_outlives_its_shell(
        self, start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
    ) -> None:
        shell = start("sh", "-c", f'{sys.executable} -c "$0" "$1" & read go')
        assert shell.stdin
        shell.stdin.write(b"go\n")
        shell.stdin.close()
        shell.wait(20)
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGWINCH)
        assert self.end(tmp_path) == "nothing ended it"

    def test_a_run_that_cleans_up_already_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(signals, "_is_shell", lambda process: False)
        listen()
        monkeypatch.setattr(os, "getppid", lambda: 1)
        messages: list[str] = []
        with uninterrupted("jh-1", messages.append) as was_told_to_end:
            press(signals.PARENT_DIED)
            press(signals.PARENT_DIED)
            assert was_told_to_end()
        assert messages == []

    def test_a_run_that_ends_already_is_not_interrupted_again(
        self, monkeypatch: pytest.MonkeyPatch, no_echo: None
    ) -> None:
        monkeypatch.setattr(signals, "_is_shell", lambda process: False)
        listen()
        with pytest.raises(KeyboardInterrupt):
            press(signal.SIGTERM)
        monkeypatch.setattr(os, "getppid", lambda: 1)
        try:
            press(signals.PARENT_DIED)
        except KeyboardInterrupt:
            pytest.fail("the end of the run is interrupted by the death of its parent")


class TestUninterrupted:
    @pytest.mark.usefixtures("no_echo")
    def test_goes_on_and_says_so_and_then_gives_up(self) -> None:
        messages: list[str] = []
        done: list[str] = []

        def clean() -> None:
            with uninterrupted("jh-1", messages.append):
                press()
                done.append("went on")
                press(signal.SIGTERM)
                done.append("went on again")

        with pytest.raises(Exited, match="130"):
            clean()
        assert done == ["went on"]
        cleaning, gave_up = messages
        assert cleaning == "Cleaning up jh-1, which takes up to a minute. Another Ctrl-C stops that."
        assert gave_up == "Stopped. What is left of jh-1 stays on this machine: 'tox -e down' removes it."

    def test_the_echo_of_what_ended_the_run_counts_for_nothing(self) -> None:
        listen()
        messages: list[str] = []
        with pytest.raises(KeyboardInterrupt):
            press()
        with uninterrupted("jh-1", messages.append):
            press()
        assert messages == []

    def test_afterwards_it_is_as_before(self) -> None:
        with uninterrupted("jh-1", print):
            assert cleaning_up()
        assert not cleaning_up()
        with pytest.raises(KeyboardInterrupt):
            press()

    @pytest.mark.usefixtures("no_echo")
    def test_one_inside_another_counts_on(self) -> None:
        messages: list[str] = []

        def clean() -> None:
            with uninterrupted("jh-1", messages.append):
                press()
                with uninterrupted("jh-1", messages.append):
                    press()

        with pytest.raises(Exited):
            clean()

    def test_in_another_thread_nothing_changes(self) -> None:
        seen: list[bool] = []

        def work() -> None:
            with uninterrupted("jh-1", print):
                seen.append(cleaning_up())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(10)
        assert seen == [False]


def running_timers() -> list[threading.Timer]:
    """Timers that have not gone off; one that was cancelled is a thread for a moment more."""
    timers = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    return [timer for timer in timers if not timer.finished.is_set()]


class TestLimited:
    def test_ends_whatever_the_main_thread_waits_in(self) -> None:
        listen()
        reached: list[str] = []
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt), limited(0.1, lambda: reached.append("limit")):
            threading.Event().wait(20)
        assert reached == ["limit"]
        assert time.monotonic() - started < 10

    def test_in_time(self) -> None:
        listen()
        with limited(3600, lambda: pytest.fail("reached")):
            pass
        assert not running_timers()

    def test_no_limit(self) -> None:
        with limited(0, lambda: pytest.fail("reached")):
            assert not running_timers()

    def test_does_not_disturb_a_run_that_is_cleaning_up(self) -> None:
        messages: list[str] = []
        with uninterrupted("jh-1", messages.append), limited(0.01, lambda: messages.append("reached")):
            # On a busy machine it may have gone off by now.
            for timer in running_timers():
                timer.join(10)
        assert messages == []


class TestAlarm:
    @pytest.fixture
    def alarm(self) -> Iterator[Alarm]:
        before = signal.getsignal(signals.ALARM)
        alarm = Alarm()
        alarm.listen()
        yield alarm
        signal.signal(signals.ALARM, before)

    def test_ends_whatever_the_main_thread_waits_in(self, alarm: Alarm) -> None:
        started = time.monotonic()
        side = threading.Timer(0.1, alarm.ring, [LookupError("it is gone")])
        side.start()
        with pytest.raises(LookupError, match="it is gone"), alarm.heard():
            threading.Event().wait(20)
        assert time.monotonic() - started < 10

    def test_elsewhere_it_waits_for_the_next_place(self, alarm: Alarm) -> None:
        with alarm.heard():
            pass
        alarm.ring(LookupError("it is gone"))
        reached = []
        with pytest.raises(LookupError, match="it is gone"), alarm.heard():
            reached.append("the block")
        assert not reached

    def test_silence(self, alarm: Alarm) -> None:
        with alarm.heard():
            signal.raise_signal(signals.ALARM)


class TestThreads:
    def test_are_waited_for(self) -> None:
        with threads(2) as pool:
            futures = [pool.submit(pow, 2, number) for number in range(5)]
        assert [future.result(timeout=0) for future in futures] == [1, 2, 4, 8, 16]

    def test_not_where_the_run_ends(self) -> None:
        go = threading.Event()
        waiting: list[Future[bool]] = []

        def work() -> None:
            with threads(1) as pool:
                waiting.extend(pool.submit(go.wait, 20) for _ in range(2))
                raise KeyboardInterrupt

        try:
            with pytest.raises(KeyboardInterrupt):
                work()
            assert waiting[1].cancelled()
            assert not waiting[0].done()
        finally:
            go.set()

    def test_not_where_the_run_ends_while_they_are_waited_for(self) -> None:
        listen()
        go = threading.Event()
        waiting: list[Future[bool]] = []

        def work() -> None:
            with limited(0.1, lambda: None), threads(1) as pool:
                waiting.append(pool.submit(go.wait, 20))

        try:
            with pytest.raises(KeyboardInterrupt):
                work()
            assert not waiting[0].done()
        finally:
            go.set()
