"""How a run ends before its time: by Ctrl-C, `kill -TERM`, a terminal that closes or its own limit.

None of them cuts its cleaning up short.

Python's own handler raises KeyboardInterrupt wherever the main thread happens to be. That is right for a test and wrong
for the removal of a cluster: there it is only told, and the removal goes on.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from harness.base.shell import kill_children

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ALARM = signal.SIGUSR1
ECHO = 1.0
"""Seconds in which a signal counts as one with the last: tox sends its own beside the terminal's."""
GAVE_UP = 130
"""Exit code of a run that was told to end before it had cleaned up: a shell's own for Ctrl-C."""


class _Handler:
    """What happens at a signal: `first`, and `further` at every later one, those of one moment being one."""

    def __init__(self, first: Callable[[], None], further: Callable[[], None]) -> None:
        self._next = (first, further)
        self.last = float("-inf")
        """When the last signal came, as time.monotonic()."""
        self.came = False
        """Whether one came that was not an echo."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            _let_go_of_terminals()
        now = time.monotonic()
        echo, self.last = now - self.last < ECHO, now
        if not echo:
            self.came = True
            do, self._next = self._next[0], (self._next[1], self._next[1])
            do()


class _Patient(_Handler):
    """The handler while something is cleaned up."""


def listen() -> None:
    """Have Ctrl-C, `kill -TERM`, which is how CI ends a run, and a terminal that closes raise KeyboardInterrupt.

    What is ignored stays ignored: Ctrl-C in what a shell runs in the background, the terminal under nohup.
    """
    handler = _Handler(_interrupt, _interrupt)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _let_go_of_terminals() -> None:
    """Have what goes to terminals go nowhere: a closed one takes nothing more, and cleaning up would fail at it."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the list itself
            if str(link.readlink()).startswith(("/dev/pts/", "/dev/tty")):
                os.dup2(nowhere, int(link.name))
    os.close(nowhere)


@contextmanager
def uninterrupted(name: str, tell: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Let the block, which cleans up, come to its end: a signal is answered with what is going on, the second gives up.

    The block is given what says whether one came: for who would otherwise go on with something else after it. In a
    block that is inside another one, or outside the main thread, which alone gets signals, nothing changes.

    Args:
        name: the run's, of whose cluster and containers something may be left when the person gives up.
        tell: shows a line to the person at once.
    """
    if threading.current_thread() is not threading.main_thread() or cleaning_up():
        yield lambda: False
        return
    patient = _Patient(
        lambda: tell(f"Cleaning up {name}, which takes up to a minute. Once more leaves it as it is."),
        lambda: _give_up(name, tell),
    )
    if isinstance(current := signal.getsignal(signal.SIGINT), _Handler):
        # The echo of what ended the run may come only now.
        patient.last = current.last
    before = {number: signal.signal(number, patient) for number in SIGNALS}
    try:
        yield lambda: patient.came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def cleaning_up() -> bool:
    """Whether an `uninterrupted` block is under way."""
    return isinstance(signal.getsignal(signal.SIGTERM), _Patient)


def _give_up(name: str, tell: Callable[[str], None]) -> None:
    tell(f"Given up. What is left of {name} stays on this machine: 'tox -e down' removes it.")
    kill_children()
    # Not by an exception: whoever catches it goes on with what the person does not want to wait for.
    os._exit(GAVE_UP)


@contextmanager
def limited(seconds: float, reached: Callable[[], None]) -> Iterator[None]:
    """End the block as `kill -TERM` does when its time is up.

    Args:
        seconds: the time; 0 for no limit.
        reached: called before, in a thread of its own.
    """

    def end() -> None:
        if not cleaning_up():
            reached()
            # To the main thread itself: whatever call it waits in is interrupted.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    if seconds:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Alarm:
    """Raises an error in the main thread on behalf of another one, whatever call the main thread waits in.

    It is raised where the main thread is ready for it, which is within `heard`; elsewhere at the next such place.
    """

    def __init__(self) -> None:
        self._error: Exception | None = None
        self._heard = False

    def listen(self) -> None:
        """Take the signal that this needs; called in the main thread, before anything else."""
        signal.signal(ALARM, lambda number, frame: self._raise())

    def ring(self, error: Exception) -> None:
        """Have the error raised; from any thread."""
        self._error = error
        signal.pthread_kill(threading.main_thread().ident or 0, ALARM)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Let the block be ended by the error."""
        self._heard = True
        try:
            self._raise()
            yield
        finally:
            self._heard = False

    def _raise(self) -> None:
        if self._heard and self._error:
            self._heard = False
            raise self._error


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads; what they do is waited for, but not where the block fails or the run ends.

    Then nothing more begins, and what is under way ends by the limits of its own calls.
    """
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
