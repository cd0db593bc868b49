"""The progress of a run while it gets ready: one line a step, with its elapsed time.

On a terminal the steps under way are shown live, each with a clock; elsewhere a step is one plain line when it ends.
A long piece of work can have an outlook, a line about its rest: the last line of the live ones, or one a minute.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from harness.base.errors import HarnessError
from harness.base.intervals import Span

MINUTE = 60.0
"""Seconds between two lines of an outlook where there is no terminal."""


@dataclass
class Step:
    """A piece of set-up under way."""

    title: str
    started: float = field(default_factory=time.monotonic)
    outcome: str = ""

    def done(self, outcome: str) -> None:
        """Set what the step did, or why it had nothing to do, for the line at its end."""
        self.outcome = outcome

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.started


class StoppedError(HarnessError):
    """A step was not started, because the run is ending."""


class Steps:
    """The set-up steps of one run; safe to use from several threads."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.spans: list[Span] = []
        """The finished steps, named by their titles, in order of finishing."""
        self._stopping = threading.Event()
        self._running: list[Step] = []
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._outlook: Callable[[], str] | None = None

    @contextmanager
    def step(self, title: str, *, always: bool = False) -> Iterator[Step]:
        """Time a piece of work, and print its line when it ends or fails.

        Args:
            always: begin even while the run is ending, as teardown does.

        Raises:
            StoppedError: the run is ending; the work does not begin.
        """
        if not always:
            self.go_on()
        step = Step(title)
        self._begin(step)
        mark = "ok"
        try:
            yield step
        except BaseException:
            mark = "FAILED"
            raise
        finally:
            self._end(step, mark)

    def stop(self) -> None:
        """Let no further step begin: threads at work end at their next one."""
        self._stopping.set()

    def go_on(self) -> None:
        """End a long step at this place if the run is ending; do nothing otherwise.

        Raises:
            StoppedError: the run is ending.
        """
        if self._stopping.is_set():
            raise StoppedError("The run is ending")

    def say(self, text: str) -> None:
        """Print a line that belongs to no step."""
        self.console.print(Text(text), highlight=False, soft_wrap=True)

    @contextmanager
    def outlook(self, line: Callable[[], str], *, every: float = MINUTE) -> Iterator[None]:
        """Show a line about what is under way and its rest while the context is open, always as it is by then.

        Args:
            every: seconds between two lines where there is no terminal.
        """
        over = threading.Event()

        def repeat() -> None:
            while not over.wait(every):
                self.say(f"  ...    {line()}")

        self._outlook = line
        lines = threading.Thread(target=repeat, name="outlook", daemon=True)
        if not self.console.is_terminal:
            lines.start()
        try:
            yield
        finally:
            over.set()
            self._outlook = None
            if lines.is_alive():
                lines.join(timeout=1)

    def _begin(self, step: Step) -> None:
        with self._lock:
            self._running.append(step)
            if self.console.is_terminal and self._live is None:
                self._live = Live(
                    get_renderable=self._picture, console=self.console, refresh_per_second=4, transient=True
                )
                self._live.start()

    def _end(self, step: Step, mark: str) -> None:
        elapsed = step.elapsed
        with self._lock:
            self._running.remove(step)
            self.spans.append(Span.ending_now(step.title, elapsed))
            if self._live and not self._running:
                self._live.stop()
                self._live = None
        line = Text(f"  {mark:<6} {elapsed:6.1f} s  {step.title}")
        line.stylize("green" if mark == "ok" else "red", 2, 8)
        if step.outcome:
            line.append(f": {step.outcome}", style="dim")
        self.console.print(line, highlight=False, soft_wrap=True)

    def _picture(self) -> RenderableType:
        lines = [f"  ...    {step.elapsed:6.1f} s  {step.title}" for step in list(self._running)]
        outlook = self._outlook
        return Text("\n".join([*lines, *([f"  {outlook()}"] if outlook else [])]), style="yellow")
