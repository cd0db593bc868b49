"""Other programs: bounded, named when they fail, and ended with all their children."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.base.errors import HarnessError
from harness.base.shell import CommandError, dialogue, environment, kill_children, lines_of, run, tail
from harness.base.wait import NotYet, wait_until


def sh(script: str, *, timeout: float = 20, **more: str) -> str:
    return run(["sh", "-c", script], timeout=timeout, env=more)


def alive(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_standard_output_alone() -> None:
    assert sh("echo out; echo err >&2") == "out\n"


def test_variables_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "kept")
    assert sh("echo $MINE $MORE", MORE="added") == "kept added\n"


def test_a_variable_that_another_thread_takes_away_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    switches, over = sys.getswitchinterval(), threading.Event()
    monkeypatch.setenv("STAYS", "here")

    def set_and_take_away() -> None:
        while not over.is_set():
            os.environ["GOES"] = "away"
            del os.environ["GOES"]

    other = threading.Thread(target=set_and_take_away)
    other.start()
    sys.setswitchinterval(1e-6)
    try:
        assert all(environment(MORE="added").items() >= {"STAYS": "here", "MORE": "added"}.items() for _ in range(2000))
    finally:
        sys.setswitchinterval(switches)
        over.set()
        other.join()


def test_standard_input() -> None:
    assert run(["cat"], timeout=20, stdin="text") == "text"
    assert run(["cat"], timeout=20) == "", "nothing is inherited: a program that asks gets no answer, and does not hang"


def test_directory(tmp_path: Path) -> None:
    assert run(["pwd", "-P"], timeout=20, cwd=tmp_path) == f"{tmp_path.resolve()}\n"


def test_bytes_that_are_no_text() -> None:
    assert sh(r"printf '\377'") == "\ufffd"


class TestFailure:
    def test_is_named(self) -> None:
        with pytest.raises(CommandError, match=r"\Ash -c: exit code 3\.\n  \| no such thing\Z"):
            sh("echo no such thing >&2; exit 3")

    def test_is_named_by_its_work(self) -> None:
        with pytest.raises(CommandError, match=r"\Astarting moto: exit code 1\.\Z"):
            run(["false"], timeout=20, what="starting moto")

    def test_standard_output_counts_where_there_is_no_error(self) -> None:
        with pytest.raises(CommandError, match=r"\n  \| said on stdout\Z"):
            sh("echo said on stdout; exit 1")

    def test_all_that_was_said_can_be_read(self) -> None:
        with pytest.raises(CommandError) as error:
            sh("echo out; echo err >&2; exit 1")
        assert error.value.output == "out\nerr\n"

    def test_is_for_people(self) -> None:
        assert issubclass(CommandError, HarnessError)

    def test_no_such_program(self) -> None:
        with pytest.raises(CommandError, match=r"\Aa tool: /no/such/tool cannot be started: No such file or directory"):
            run(["/no/such/tool"], timeout=20, what="a tool")


ECHO = "while read line; do echo got $line; echo $line >&2; done"


class TestDialogue:
    def test_an_answer_for_each_line(self) -> None:
        with dialogue(["sh", "-c", ECHO], timeout=20, what="an echo") as ask:
            assert [ask("one"), ask("two")] == ["got one\n", "got two\n"]

    def test_a_program_that_ends(self) -> None:
        with dialogue(["sh", "-c", f"{ECHO} | head -1; exit 3"], timeout=20, what="an echo") as ask:
            assert ask("one") == "got one\n"
            for _ in range(2):
                with pytest.raises(CommandError, match=r"\Aan echo: exit code 3\.\n  \| one\Z"):
                    ask("two")

    def test_a_program_that_does_not_answer(self) -> None:
        with (
            dialogue(["sh", "-c", "echo loading >&2; exec sleep 60"], timeout=0.3, what="a hub") as ask,
            pytest.raises(CommandError, match=r"\Aa hub: no answer within 0 s, killed\.\n  \| loading"),
        ):
            ask("one")

    def test_ends_with_its_context(self) -> None:
        with dialogue(["sh", "-c", "echo $$; exec sleep 60"], timeout=20, what="a sleep") as ask:
            pid = int(ask(""))
        assert not alive(pid)

    def test_no_such_program(self) -> None:
        with (
            pytest.raises(CommandError, match=r"/no/such/tool cannot be started"),
            dialogue(["/no/such/tool"], timeout=20, what="a tool"),
        ):
            pass


class TestTimeout:
    def test_says_so_with_the_last_lines(self) -> None:
        with pytest.raises(CommandError, match=r"\Ash -c: still running after 0 s, killed\.\n  \| working\Z"):
            sh("echo working; exec sleep 60", timeout=0.3)

    def test_ends_the_children_too(self, tmp_path: Path) -> None:
        started = time.monotonic()
        with pytest.raises(CommandError, match="killed"):
            sh(f"sleep 60 & echo $! > {tmp_path}/pid; wait", timeout=0.5)
        child = int((tmp_path / "pid").read_text())
        wait_until("the end of the child", lambda: not alive(child) or NotYet("alive"), timeout=5)
        assert time.monotonic() - started < 10

    def test_does_not_wait_for_a_child_that_got_away(self, tmp_path: Path) -> None:
        """A daemon in a session of its own keeps our end of the pipe open for as long as it lives."""
        started = time.monotonic()
        try:
            with pytest.raises(CommandError, match=r"killed\.\n  \| said"):
                sh(f"echo said; setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 30' & sleep 60", timeout=0.5)
            assert time.monotonic() - started < 10
        finally:
            os.kill(int((tmp_path / "pid").read_text()), 9)


def test_an_interrupt_ends_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        (tmp_path / "go").open().close()  # opens when the program does
        raise KeyboardInterrupt

    os.mkfifo(tmp_path / "go")
    monkeypatch.setattr("harness.base.shell.subprocess.Popen.communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sh(f"echo $$ > {tmp_path}/pid; : > {tmp_path}/go; exec sleep 60")
    assert not alive(int((tmp_path / "pid").read_text()))


def test_kill_children_ends_what_other_threads_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pids")
    errors: list[CommandError] = []

    def work() -> None:
        try:
            sh(f"sleep 60 & echo $$ $! > {tmp_path}/pids; wait")
        except CommandError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    kill_children()
    thread.join(10)
    assert not thread.is_alive()
    assert not any(alive(pid) for pid in pids)
    assert "exit code -9" in str(errors[0])


class TestLinesOf:
    def test_as_they_come_and_ended_with_the_block(self, tmp_path: Path) -> None:
        with lines_of(["sh", "-c", "echo one; echo $$; sleep 60 & echo $!; wait"]) as lines:
            assert next(lines) == "one\n"
            pids = [int(next(lines)), int(next(lines))]
            assert all(map(alive, pids))
        # A killed process is there until it has its turn.
        wait_until("the end of both", lambda: not any(map(alive, pids)) or NotYet("one runs"), timeout=10)

    def test_of_a_program_that_ends_by_itself(self) -> None:
        with lines_of(["echo", "one"]) as lines:
            assert list(lines) == ["one\n"]

    def test_no_such_program(self) -> None:
        message = r"\Ano-such-program cannot be started: No such file"
        with pytest.raises(CommandError, match=message), lines_of(["no-such-program"]):
            pass


@pytest.mark.parametrize(
    ("output", "lines", "shown"),
    [
        ("", 3, ""),
        ("\n \n", 3, ""),
        ("a\n\nb\n", 3, "\n  | a\n  | b"),
        ("a\nb\nc\nd", 2, "\n  | c\n  | d"),
    ],
)
def test_tail(output: str, lines: int, shown: str) -> None:
    assert tail(output, lines) == shown
