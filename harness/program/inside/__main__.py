"""Evaluate one request: `python -m inside REQUEST`, whose answer is a file that the request names."""

from __future__ import annotations

import faulthandler
import json
import os
import re
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from .guard import Guard, guard
from .places import Line, Owners, chain

RESOURCE = re.compile(r"While processing resource: '([^']+)', type '([^']+)'")
"""Pulumi's name for a resource in whose inputs something failed, long after the line that asks for it."""


def main(request_file: str) -> None:
    request = json.loads(Path(request_file).read_text())
    checkout, scratch = Path(request["checkout"]), Path(request["scratch"])
    sys.path[:] = [*_installed(request), str(checkout / "src"), *request["source_roots"]]
    owners = Owners(checkout)
    report = _Report(Path(request["answer"]), owners)
    # It sees all that the program may raise but its own end, which `ended_well` turns into an error.
    sys.excepthook = report.failed
    stack = (scratch / "stack").open("w")
    faulthandler.dump_traceback_later(request["timeout"], exit=True, file=stack)
    readable = [checkout, *map(Path, request["readable"])]
    report.guard = guard(owners, readable, [checkout / ".git"], [scratch, Path(request["bytecode"])])
    report.guard.enable()
    # Imported here, so that what their packages do as they are imported is guarded too.
    from .answers import Answers

    report.answers = Answers(checkout, owners)
    report.answers.install()
    evaluate = _program if request["kind"] == "program" else _pipelines
    answer = evaluate(request, report)
    asked = {os.path.relpath(path, checkout) for path in report.guard.asked if Path(path).is_relative_to(checkout)}
    # Modules are found by their imports; of those that have bytecode no file is opened.
    report.finished({**answer, "read": sorted(file for file in asked if not file.endswith(".py"))})


def _installed(request: dict[str, Any]) -> list[str]:
    """Return the search path without the directory that this package was found by."""
    return [path for path in sys.path if path not in (request["own_directory"], "")]


def _program(request: dict[str, Any], report: _Report) -> dict[str, Any]:
    from .configuration import read_configuration
    from .engine import Engine

    checkout, directory = Path(request["checkout"]), Path(request["directory"])
    configuration = read_configuration(directory, Path(request["stack_file"]))
    engine = Engine(checkout, configuration, report.owners, report.answers)
    report.lines = engine.lines
    os.chdir(directory)
    engine.run(directory)
    resources = sorted((each.as_json() for each in engine.resources), key=lambda each: (each["type"], each["name"]))
    return {
        "project": configuration.project,
        "stack": configuration.stack,
        "resources": resources,
        "references": sorted(engine.references),
        "deleted_first": sorted(engine.deleted_first),
        "asked": sorted(report.answers.asked),
    }


def _pipelines(request: dict[str, Any], report: _Report) -> dict[str, Any]:
    from .pipelines import run_pipeline

    checkout, scratch = Path(request["checkout"]), Path(request["scratch"])
    answers = []
    for number, (file, arguments) in enumerate(request["pipelines"]):
        answers.append(run_pipeline(checkout, file, arguments, scratch / f"pipeline-{number}"))
    return {"pipelines": answers}


class _Report:
    """The answer's file: what was found, or the owners' line that is in the way."""

    def __init__(self, file: Path, owners: Owners) -> None:
        self._file = file
        self.owners = owners
        self.guard: Guard
        self.answers: Any = None
        self.lines: dict[tuple[str, str], Line | None] = {}

    def finished(self, answer: dict[str, Any]) -> None:
        trouble = self._swallowed()
        self._write(trouble or answer)

    def failed(self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        sys.__excepthook__(kind, error, traceback)
        self._write(self._swallowed() or self._described(error))

    def _swallowed(self) -> dict[str, Any] | None:
        """Return what the owners' code may not do and tried, even if it caught the error and went on."""
        if self.guard.refusals:
            first = self.guard.refusals[0]
            return _trouble(first.line, "refused", f"{first.what}: {first.detail}")
        if self.answers is not None and self.answers.unanswered:
            question, line = self.answers.unanswered[0]
            return _trouble(line, "unanswered", question)
        return None

    def _described(self, error: BaseException) -> dict[str, Any]:
        """Return the first exception of the chain that passed a line of the owners', else the outermost.

        An exit of the program counts last: its cause is more useful.
        """
        for each in sorted(chain(error), key=lambda each: isinstance(each, SystemExit)):
            if line := self.owners.raising(each):
                return _trouble(line, type(each).__name__, str(each))
        for each in chain(error):
            if resources := RESOURCE.findall(str(each)):
                name, kind = resources[-1]
                reason = str(each).rpartition(" has risen: ")[2]
                return _trouble(self.lines.get((kind, name)), f"the {kind} {name}", reason)
        return _trouble(None, type(error).__name__, str(error))

    def _write(self, content: dict[str, Any]) -> None:
        self._file.write_text(json.dumps(content, sort_keys=True))


def _trouble(line: Line | None, kind: str, message: str) -> dict[str, Any]:
    return {"trouble": {"kind": kind, "message": message, **(line.as_json() if line else {})}}


if __name__ == "__main__":
    main(sys.argv[1])
