"""The result of each drill, as drills.json keeps it."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import TypeAdapter, ValidationError, with_config

from harness.base.errors import HarnessError
from harness.base.files import read_text
from harness.base.validation import first_error
from harness.drills.model import Person


class Verdict(StrEnum):
    """The verdict on a drill; the good ones first."""

    CAUGHT = "caught"
    QUIET = "no alarm"
    """A valid change, and nothing failed."""
    NOT_HERE = "does not apply"
    """The deployment lacks what the drill changes."""
    NO_CHECKOUT = "needs a checkout"
    """The drill changes the owners' program, and --ol-infrastructure was not given."""
    UNCLEAR = "caught, cause not named"
    """The right promise failed, with a message that does not name the cause."""
    ELSEWHERE = "caught elsewhere"
    """A promise failed that the drill does not name."""
    SURVIVED = "survived"
    ALARM = "false alarm"
    ERROR = "error"
    """The drill changed nothing, or its tests gave no result."""


NOT_JUDGED = (Verdict.NOT_HERE, Verdict.NO_CHECKOUT)
GOOD = (Verdict.CAUGHT, Verdict.QUIET, *NOT_JUDGED)


@dataclass(frozen=True)
class Result:
    """The result of one drill.

    Attributes:
        expected: the tests that must catch it; of a valid change, those that were tried.
        wanted: the promise that no test checks yet.
        test: the test that failed, if one did, without its parameters.
        layer: the layer of that test (`promise_index.Layer`).
        message: the failure's message, or why there is no verdict.
        seconds: from before the change to the failure that is the verdict; without one, to the end of the run.
        written: fingerprint of the drill and of the deployment that it was planted in.
    """

    drill: str
    subject: str
    hurts: Person
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


@with_config(extra="forbid")
@dataclass(frozen=True)
class Results:
    """The results of the drills of one run.

    Attributes:
        system: the deployment that they were planted in, in words.
    """

    system: str
    results: tuple[Result, ...]

    def write(self, file: Path) -> None:
        """Write the results; a run that is killed meanwhile leaves the file as it was."""
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.with_suffix(".new")
        scratch.write_bytes(_json().dump_json(self, indent=1))
        scratch.replace(file)


def read_results(file: Path) -> Results:
    """Read the results that a run wrote.

    Raises:
        HarnessError: the file cannot be read, or a run of drills writes no such thing.
    """
    try:
        return _json().validate_json(read_text(file, "results of drills"))
    except ValidationError as error:
        raise HarnessError(f"{file}: expected the results of drills: {first_error(error)}") from error


def merge_results(runs: Iterable[Results]) -> Results:
    """Merge the results of several runs, such as one of each shard; of one drill in one system the last counts."""
    found: dict[tuple[str, str], tuple[str, Result]] = {}
    for run in runs:
        for result in run.results:
            found[run.system, result.drill] = (run.system, result)
    systems = list(dict.fromkeys(system for system, _ in found))
    return Results("; ".join(systems), tuple(result for _, result in found.values()))


@functools.cache
def _json() -> TypeAdapter[Results]:
    return TypeAdapter(Results)
