"""What became of each drill, as it is kept in drills.json."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.base.errors import HarnessError


class Verdict(StrEnum):
    """What became of one drill; the good ones first."""

    CAUGHT = "caught"
    QUIET = "no alarm"
    """A valid change, and nothing failed."""
    NOT_HERE = "does not apply"
    """The deployment has not what the drill changes."""
    UNCLEAR = "caught, cause not named"
    """The right promise failed, with a message that does not say why."""
    ELSEWHERE = "caught elsewhere"
    """Another promise failed, and not the one that must."""
    SURVIVED = "survived"
    ALARM = "false alarm"
    ERROR = "error"
    """The drill changed nothing, or the run of its tests told nothing."""


GOOD = (Verdict.CAUGHT, Verdict.QUIET, Verdict.NOT_HERE)


@dataclass(frozen=True)
class Result:
    """What became of one drill.

    Attributes:
        expected: the tests that must catch it; of a valid change, those that were tried.
        wanted: the promise that no test checks yet.
        test: the test that failed, if one did, without its parameters.
        layer: what had to be there for that test, as harness.suite has it.
        message: the failure's message, or why there is no verdict.
        seconds: from before the change to the failure that is the verdict; without one, to the end of the run.
        written: fingerprint of the drill and of the deployment that it was planted in.
    """

    drill: str
    subject: str
    hurts: str
    expected: tuple[str, ...]
    verdict: Verdict
    wanted: str = ""
    test: str = ""
    layer: str = ""
    message: str = ""
    seconds: float = 0.0
    written: str = ""

    @property
    def headline(self) -> str:
        """The first line of the message."""
        return self.message.partition("\n")[0]


@dataclass(frozen=True)
class Results:
    """What became of the drills of one run.

    Attributes:
        system: what they were planted in, in words.
    """

    system: str
    results: tuple[Result, ...]

    def write(self, file: Path) -> None:
        """Write them down; a run that is killed meanwhile leaves what was there."""
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.with_suffix(".new")
        scratch.write_text(json.dumps(dataclasses.asdict(self), indent=1))
        scratch.replace(file)


def read_results(file: Path) -> Results:
    """The results that a run wrote down.

    Raises:
        HarnessError: there are none, or they are not what a run writes.
    """
    try:
        found: dict[str, Any] = json.loads(file.read_text())
        results = tuple(_result(each) for each in found["results"])
        return Results(str(found["system"]), results)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"{file}: expected the results of drills: {error}") from error


def together(runs: Iterable[Results]) -> Results:
    """The results of several runs, such as one of each shard, in one; of one drill in one system the last counts."""
    found: dict[tuple[str, str], tuple[str, Result]] = {}
    for run in runs:
        for result in run.results:
            found[run.system, result.drill] = (run.system, result)
    systems = list(dict.fromkeys(system for system, _ in found))
    return Results("; ".join(systems), tuple(result for _, result in found.values()))


def _result(found: dict[str, Any]) -> Result:
    return Result(**{**found, "verdict": Verdict(found["verdict"]), "expected": tuple(found["expected"])})
