"""The early end of a run: Ctrl-C, `kill -TERM`, a terminal that closes, the death of tox, or its own limit.

Python's own handler raises KeyboardInterrupt at any line of the main thread. That is right in a test and wrong
in the removal of a cluster: there a signal is only answered, and the removal goes on.
"""

from __future__ import annotations

import ctypes
import os
import select
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
PARENT_DIED = signal.SIGUSR2
SHELLS = {"ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "sh", "tcsh", "zsh"}
ECHO = 1.0
"""Seconds within which two signals count as one: at Ctrl-C, tox sends one beside the terminal's."""
GAVE_UP = 130
"""Exit code of a run that was ended while it cleaned up; a shell's own for Ctrl-C."""
_PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


class _Handler:
    """A handler that calls `first` at a signal and `further` at each later one; simultaneous ones count as one."""

    def __init__(self, first: Callable[[], None], further: Callable[[], None]) -> None:
        self._next = (first, further)
        self.last = float("-inf")
        """When the last signal came, as time.monotonic()."""
        self.came = False
        """True once a signal came that was not an echo."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            _drop_closed_streams()
        now = time.monotonic()
        echo, self.last = now - self.last < ECHO, now
        if not echo:
            self.came = True
            do, self._next = self._next[0], (self._next[1], self._next[1])
            do()

    def parent_died(self, frame: FrameType | None) -> None:
        """Count the parent's death as `kill -TERM`, unless the run is ending already."""
        if not self.came:
            self(signal.SIGTERM, frame)


class _Patient(_Handler):
    """The handler during a clean-up."""

    def parent_died(self, frame: FrameType | None) -> None:
        # Only a person can ask twice for the end of the clean-up.
        self.came = True


def listen() -> None:
    """Have Ctrl-C, `kill -TERM`, a terminal that closes and the death of tox raise KeyboardInterrupt.

    What is ignored stays ignored: Ctrl-C in what a shell runs in the background, the terminal under nohup.
    """
    handler = _Handler(_interrupt, _interrupt)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
    _listen_to_parent()


def _interrupt() -> None:
    raise KeyboardInterrupt


def _listen_to_parent() -> None:
    """Have the death of the program that started this one, such as tox, count as `kill -TERM`.

    Such a program waits for the run, and when it is killed the run has nothing left to wait for it or to end it. A
    shell is no such program: what it starts in the background, or under nohup or setsid, may outlive it.
    """
    parent = os.getppid()
    if _is_shell(parent):
        return

    def look(number: int, frame: FrameType | None) -> None:
        # The signal comes too when only the parent's thread that started this process ends, see prctl(2).
        if os.getppid() != parent:
            _drop_closed_streams()
            handler = signal.getsignal(signal.SIGTERM)
            if isinstance(handler, _Handler):
                handler.parent_died(frame)

    signal.signal(PARENT_DIED, look)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, PARENT_DIED)
    # It may have died before the kernel was asked for the signal.
    look(PARENT_DIED, None)


def _is_shell(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/exe").readlink().name in SHELLS
    except OSError:  # another user's, such as sudo
        return False


def _drop_closed_streams() -> None:
    """Redirect what leads to a closed terminal or a dead reader to /dev/null: printing would end the clean-up."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # of the directory's own listing
            if _is_closed(int(link.name), str(link.readlink())):
                os.dup2(nowhere, int(link.name))
    os.close(nowhere)


def _is_closed(descriptor: int, leads_to: str) -> bool:
    closed = {"/dev/": select.POLLHUP | select.POLLERR, "pipe:": select.POLLERR}.get(leads_to[:5], 0)
    look = select.poll()
    look.register(descriptor, 0)
    return any(found & closed for _, found in look.poll(0))


@contextmanager
def uninterrupted(name: str, show: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Let a clean-up come to its end: the first signal prints a line about it, the second one stops it.

    Yield a function that returns whether a signal came, for a caller that has more to do afterwards.
    Inside another such block, and outside the main thread, which alone gets signals, it has no effect.

    Args:
        name: the run whose cluster and containers may be left when the clean-up is stopped.
        show: prints a line at once.
    """
    if threading.current_thread() is not threading.main_thread() or cleaning_up():
        yield lambda: False
        return
    patient = _Patient(
        lambda: show(f"Cleaning up {name}, which takes up to a minute. Another Ctrl-C stops that."),
        lambda: _give_up(name, show),
    )
    if isinstance(current := signal.getsignal(signal.SIGINT), _Handler):
        # The second signal of the pair that ended the run may come only now.
        patient.last = current.last
    before = {number: signal.signal(number, patient) for number in SIGNALS}
    try:
        yield lambda: patient.came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def cleaning_up() -> bool:
    """Return whether an `uninterrupted` block is under way."""
    return isinstance(signal.getsignal(signal.SIGTERM), _Patient)


def _give_up(name: str, show: Callable[[str], None]) -> None:
    show(f"Stopped. What is left of {name} stays on this machine: 'tox -e down' removes it.")
    kill_children()
    # Not by an exception: code that catches one would go on with the clean-up.
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
            # To the main thread itself, so that the call in which it waits is interrupted.
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
    """A way for a thread to raise an error in the main thread, even while that waits in a call.

    The error is raised inside a `heard` block; outside of one, at the beginning of the next.
    """

    def __init__(self) -> None:
        self._error: Exception | None = None
        self._heard = False

    def listen(self) -> None:
        """Take the signal that this needs; to be called in the main thread, before anything else."""
        signal.signal(ALARM, lambda number, frame: self._raise())

    def ring(self, error: Exception) -> None:
        """Have the error raised; may be called from any thread."""
        self._error = error
        signal.pthread_kill(threading.main_thread().ident or 0, ALARM)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Let the error end the block."""
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
    """Yield a pool of threads, and wait for their work unless the block fails or the run ends.

    Then no further work begins, and what is under way ends by the limits of its own calls.
    """
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
