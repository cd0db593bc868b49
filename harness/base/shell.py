"""Run other programs, each with a time limit, and each named in the message when it fails."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from harness.base.errors import HarnessError

MARK = "OL_JUPYTERHUB_HARNESS_RUN"
"""Environment variable that all processes of a run inherit, so that one whose parent is gone is found too."""
BAR = "  | "
"""Prefix of each line of a program's output in a message."""
TAIL = 12
"""Lines of a failed program's output that its message has."""


class CommandError(HarnessError):
    """A program failed, hung or could not be started; `output` is everything it printed."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


def run(
    args: Sequence[str | Path],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    what: str | None = None,
) -> str:
    """Run a program and return what it printed on standard output.

    Args:
        timeout: seconds until the program and its children are killed.
        env: variables added to the caller's environment.
        stdin: text for its standard input; nothing is inherited.
        what: how a message names the work; the program and its first argument otherwise.

    Raises:
        CommandError: it could not be started, exited non-zero, or was still running after `timeout`.
    """
    command = [str(arg) for arg in args]
    what = what or " ".join(command[:2])
    try:
        process = _start(
            command,
            env=environment(**(env or {})),
            cwd=cwd,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    except CommandError as error:
        raise CommandError(f"{what}: {error}") from error
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill(process)
        out, err = _rest(process)
        raise CommandError(
            f"{what}: still running after {timeout:.0f} s, killed.{tail(out + err)}", out + err
        ) from None
    except BaseException:
        _end(process)
        raise
    if process.returncode:
        raise CommandError(f"{what}: exit code {process.returncode}.{tail(err.strip() or out)}", out + err)
    return out


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment for a program, with `variables` in addition.

    Another thread may take one away meanwhile, as pytest does after each part of a test: a plain copy would fail then.
    """
    there = {name: value for name in list(os.environ) if (value := os.environ.get(name)) is not None}
    return there | variables


@contextmanager
def lines_of(args: Sequence[str | Path]) -> Iterator[Iterator[str]]:
    """Stream the lines that a program prints while the context is open; the program ends with it.

    Raises:
        CommandError: it could not be started.
    """
    process = _start([str(arg) for arg in args])
    try:
        yield iter(process.stdout or ())
    finally:
        _end(process)


Dialogue = Callable[[str], str]
"""Gives a program a line, and returns the line that it answers.

Raises:
    CommandError: the program has ended, or did not answer in time and was killed.
"""


@contextmanager
def dialogue(args: Sequence[str | Path], *, timeout: float, what: str) -> Iterator[Dialogue]:
    """Start a program that answers each line with a line, and yield what asks it; it ends with the context.

    Args:
        timeout: seconds for an answer.
        what: how a message names the work.

    Raises:
        CommandError: it could not be started.
    """
    with TemporaryFile("w+", errors="replace") as errors:
        process = _start([str(arg) for arg in args], stdin=subprocess.PIPE, stderr=errors.fileno())
        late = threading.Event()

        def give_up() -> None:
            late.set()
            _kill(process)

        def ask(line: str) -> str:
            timer = threading.Timer(timeout, give_up)
            timer.daemon = True
            timer.start()
            try:
                with contextlib.suppress(BrokenPipeError):
                    print(line, file=process.stdin, flush=True)
                answer = process.stdout.readline() if process.stdout else ""
            finally:
                timer.cancel()
            if answer.endswith("\n"):
                return answer
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            errors.seek(0)
            said = errors.read()
            how = f"no answer within {timeout:.0f} s, killed" if late.is_set() else f"exit code {process.returncode}"
            raise CommandError(f"{what}: {how}.{tail(said)}", said)

        try:
            yield ask
        finally:
            _end(process)
            for pipe in filter(None, (process.stdin, process.stdout)):
                with contextlib.suppress(BrokenPipeError):  # what it was never given
                    pipe.close()


def _start(
    command: list[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
) -> subprocess.Popen[str]:
    """Start a program whose output is read, in a group of its own.

    So a time-out ends its children too, and Ctrl-C ends none of them before the run does.
    """
    try:
        return subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise CommandError(f"{command[0]} cannot be started: {error.strerror or error}") from error


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a program and wait up to 10 s for its end: one that waits for a broken disk cannot be killed."""
    _kill(process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)


def _rest(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return what a killed program printed; a child in a session of its own may still hold its output."""
    try:
        return process.communicate(timeout=2)
    except subprocess.TimeoutExpired as error:
        parts = ((part or b"") for part in (error.stdout, error.stderr))
        out, err = (part.decode(errors="replace") if isinstance(part, bytes) else part for part in parts)
        return out, err


def kill_children() -> None:
    """Kill every program that `run` has started in any thread, and its children."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            pid, parent = int(status.parent.name), int(status.read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def tail(output: str, lines: int = TAIL) -> str:
    """Return the last lines of a program's output, each behind a bar; an empty text for no output."""
    kept = [line for line in output.splitlines() if line.strip()][-lines:]
    return "".join(f"\n{BAR}{line}" for line in kept)
