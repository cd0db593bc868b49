"""Lines of the owners' files: where something was asked, and where an exception came from."""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

IMPORTING = "<frozen importlib._bootstrap>"


@dataclass(frozen=True)
class Line:
    """A line of a file, which is named from the checkout's root."""

    file: str
    line: int
    code: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"file": self.file, "line": self.line, "code": self.code}


class Owners:
    """Tell the owners' files from those of others."""

    def __init__(self, checkout: Path) -> None:
        self._prefix = f"{checkout}/"

    def line(self, filename: str, number: int) -> Line | None:
        """Return a line, if it is of an owners' file."""
        if not filename.startswith(self._prefix):
            return None
        code = linecache.getline(filename, number).strip()
        return Line(filename.removeprefix(self._prefix), number, code)

    def asking(self) -> Line | None:
        """Return the line that is being run, of the innermost of the owners' functions."""
        return next(self._running(), None)

    def asking_from(self, directory: str) -> Line | None:
        """Return the same of the functions in a directory, and only if none of those is running, of all."""
        running = list(self._running())
        return next((line for line in running if line.file.startswith(f"{directory}/")), next(iter(running), None))

    def asking_itself(self) -> Line | None:
        """Return the same, but nothing while something of others is being imported, who ask at their own account."""
        frame: FrameType | None = sys._getframe(1)
        while frame:
            if frame.f_code.co_filename.startswith(IMPORTING):
                return None
            if line := self.line(frame.f_code.co_filename, frame.f_lineno):
                return line
            frame = frame.f_back
        return None

    def raising(self, error: BaseException) -> Line | None:
        """Return the innermost of the owners' lines that an exception passed."""
        if isinstance(error, SyntaxError) and (line := self.line(error.filename or "", error.lineno or 0)):
            return line
        frames = traceback.walk_tb(error.__traceback__)
        lines = [line for frame, number in frames if (line := self.line(frame.f_code.co_filename, number))]
        return lines[-1] if lines else None

    def _running(self) -> Iterator[Line]:
        frame: FrameType | None = sys._getframe(1)
        while frame:
            if line := self.line(frame.f_code.co_filename, frame.f_lineno):
                yield line
            frame = frame.f_back


class EndedError(Exception):
    """The owners' code ended its process, and not well."""


@contextmanager
def ended_well() -> Iterator[None]:
    """Count a script as finished only if its exit code is 0.

    Raises:
        EndedError: it does not.
    """
    try:
        yield
    except SystemExit as end:
        if end.code:
            raise EndedError(f"ended with {end.code!r}") from end


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that led to it; they can lead in a circle."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__]
