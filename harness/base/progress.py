"""The progress of a run while it gets ready: one line a step, with its elapsed time.

On a terminal the steps under way are shown live, each with a clock; elsewhere a step is one plain line when it ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from harness.base.errors import HarnessError
from harness.base.intervals import Span


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
        return Text("\n".join(lines), style="yellow")
