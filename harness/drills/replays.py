"""`tox -e replays`: the owners' own fixes, each by a promise that is red at its parent and green at it; and a walk."""

from __future__ import annotations

import ast
import functools
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from harness.base.errors import EnvironmentFault, HarnessError
from harness.base.files import read_text
from harness.base.progress import Steps
from harness.base.shell import CommandError, run
from harness.base.validation import first_error
from harness.deployment import boot, teardown
from harness.deployment.gate import program_routes, written
from harness.drills.judge import SuiteRun
from harness.drills.promise_index import SUITE
from harness.drills.pytest_run import read_suite_run, run_tests
from harness.plan.plan import Plan
from harness.program import closure, revision
from harness.program.errors import InputError, ProgramError, PythonMissingError
from harness.program.evaluation import HUBS, evaluate
from harness.program.model import STACKS

REPLAYS = Path("tests/replays.yaml")
TIMEOUT = 900.0
"""Seconds for the tests of one revision; they take twenty on an idle machine."""
RECORD = "replays.json"


class Replay(BaseModel):
    """A fix of the owners.

    Attributes:
        wrong: what was wrong before it.
        promise: the test that must be red at its parent, and green at it.
        says: what the red line must have in it.
        green_at: the first commit at which the promise holds, where the fix alone was not enough.
        no_copy: why no promise can show it.
        at_the_gate: the test that must be red and green at a running gate with the routes of the two.
        gate_says: what that red line must have in it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    commit: str = Field(pattern=r"^[0-9a-f]{7,40}$")
    wrong: str = Field(min_length=1)
    promise: str = ""
    says: str = ""
    green_at: str = Field("", alias="green at")
    no_copy: str = Field("", alias="no copy")
    at_the_gate: str = Field("", alias="at the gate")
    gate_says: str = Field("", alias="gate says")

    @model_validator(mode="after")
    def _shown_or_not(self) -> Replay:
        if self.no_copy and (self.promise or self.says or self.green_at):
            raise ValueError("'no copy' is the reason why there is no promise: it stands without one")
        if bool(self.at_the_gate) is not bool(self.gate_says):
            raise ValueError("expected 'at the gate' and 'gate says', or none of them")
        if not self.no_copy and not (self.promise and self.says):
            raise ValueError("expected 'promise' and 'says', or 'no copy' with the reason")
        return self

    @property
    def mended_at(self) -> str:
        return self.green_at or self.commit

    def with_running_gate(self) -> Replay:
        """Return the same fix with the promise about the running gate in the other's place."""
        return self.model_copy(update={"promise": self.at_the_gate, "says": self.gate_says})


class ReplayVerdict(StrEnum):
    """The verdict on a replay."""

    HOLDS = "holds"
    NOT_RED = "green at the parent"
    OTHER_CAUSE = "red for another reason"
    NOT_GREEN = "red at the fix"
    NO_COPY = "no copy shows it"
    NONE = "no verdict"


@dataclass(frozen=True)
class Tried:
    """A promise on one revision.

    Attributes:
        state: green, red, or "" for none of both.
        lines: what broke it, or why there is no state.
    """

    state: str
    lines: tuple[str, ...] = ()

    def mentions(self, text: str) -> str:
        """Return the first line that has a text in it."""
        return next((line for line in self.lines if text in line), "")


@dataclass(frozen=True)
class ReplayResult:
    """A replay that was run.

    Attributes:
        red: the line that broke at the parent, or why there is no verdict.
    """

    commit: str
    wrong: str
    promise: str
    red: str
    verdict: ReplayVerdict
    seconds: float = 0.0


@dataclass(frozen=True)
class Walked:
    """A commit that was evaluated.

    Attributes:
        why: the reason for which it does not evaluate; empty if it does.
        known: the fix that mended that, if it is one of the replays.
    """

    commit: str
    subject: str
    why: str = ""
    known: str = ""


Try = Callable[[str, str], Tried]
"""Runs a promise on the revision that a name stands for."""


@dataclass(frozen=True)
class ReplaysRequest:
    """A request for replays.

    Attributes:
        checkout: of the owners, with its history.
        words: only replays with these in commit, promise or what was wrong.
        since: a date; every commit since then is evaluated, in place of the replays.
        at_the_gate: those with a promise about the running gate are run by it, on a copy that this boots and removes.
    """

    checkout: Path
    words: str = ""
    since: str = ""
    at_the_gate: bool = False


def replays(request: ReplaysRequest, plan: Plan, steps: Steps) -> None:
    """Run the replays on a checkout with its history, or walk through it, and write replays.json.

    Raises:
        EnvironmentFault: there is no verdict on one of them, or the checkout has no history.
        HarnessError: one does not hold.
    """
    listed, checkout, file = read_replays(plan.checkout / REPLAYS), request.checkout, plan.evidence / RECORD
    if not revision.is_repository(checkout):
        raise InputError(f"{checkout}: expected a Git checkout of mitodl/ol-infrastructure, found no repository")
    plan.evidence.mkdir(parents=True, exist_ok=True)
    if request.since:
        _report_walk(list(walk(checkout, plan.cache, request.since, listed, file, steps)), steps)
        return
    chosen = [each for each in listed if request.words in f"{each.commit} {each.wrong} {each.promise}"]
    if request.at_the_gate:
        chosen = [each.with_running_gate() for each in chosen if each.at_the_gate]
    if not chosen:
        raise InputError(f"No replay has {request.words!r} in its commit, its promise or what was wrong")
    _check_history(checkout, chosen)
    found = []
    how = try_at_the_gate(checkout, plan) if request.at_the_gate else None
    try:
        for number, each in enumerate(chosen, 1):
            found.append(run_one(each, how or functools.partial(try_promise, checkout, plan.checkout, plan.cache)))
            _write(file, {"replays": [asdict(result) for result in found]})
            steps.say(f"{number:>3}/{len(chosen)}  {each.commit}  {found[-1].verdict}, {found[-1].seconds:.0f} s")
    finally:
        if request.at_the_gate:
            with boot.only_run(plan):
                teardown.remove(plan, steps)
    for line in table(found):
        steps.say(line)
    _conclude(found)


def read_replays(file: Path) -> list[Replay]:
    """Read the list of the owners' fixes.

    Raises:
        HarnessError: it is not written as it should be.
    """
    try:
        return TypeAdapter(list[Replay]).validate_python(yaml.safe_load(read_text(file, "replays")))
    except yaml.YAMLError as error:
        raise HarnessError(f"{file}: {error}") from error
    except ValidationError as error:
        known = ", ".join(field.alias or name for name, field in Replay.model_fields.items())
        raise HarnessError(f"{file}: {first_error(error)}\nA replay has the keys {known}") from error


def run_one(replay: Replay, try_promise: Try) -> ReplayResult:
    """Run one replay: its promise at the parent of the fix, and where it must hold."""
    began = time.monotonic()

    def result(verdict: ReplayVerdict, red: str) -> ReplayResult:
        seconds = round(time.monotonic() - began, 1)
        return ReplayResult(replay.commit, replay.wrong, replay.promise, red, verdict, seconds)

    if replay.no_copy:
        return result(ReplayVerdict.NO_COPY, replay.no_copy)
    before = try_promise(f"{replay.commit}~1", replay.promise)
    first = next(iter(before.lines), "")
    if not before.state:
        return result(ReplayVerdict.NONE, first)
    if before.state == "green":
        return result(ReplayVerdict.NOT_RED, "")
    red = before.mentions(replay.says)
    if not red:
        return result(ReplayVerdict.OTHER_CAUSE, first)
    after = try_promise(replay.mended_at, replay.promise)
    if not after.state:
        return result(ReplayVerdict.NONE, f"at {replay.mended_at}: {next(iter(after.lines), '')}")
    if after.state == "red":
        return result(ReplayVerdict.NOT_GREEN, next(iter(after.lines), ""))
    return result(ReplayVerdict.HOLDS, red)


def try_promise(checkout: Path, here: Path, cache: Path, commit: str, promise: str) -> Tried:
    """Run a promise on a revision, in a pytest of its own.

    Raises:
        HarnessError: the revision is not there.
    """
    exported = revision.export(checkout, revision.base_of(checkout, commit), cache)
    with tempfile.TemporaryDirectory(prefix="harness-replay-") as directory:
        options = {
            "ol-infrastructure": exported,
            "base": "",
            "stack": STACKS[-1],
            "chart": "builtin",
            "evidence": directory,
        }
        report = Path(directory, "junit.xml")
        command = [sys.executable, "-m", "pytest", f"{SUITE}/{promise}", f"--junitxml={report}"]
        command += ["-p", "no:cacheprovider", *(f"--{name}={value}" for name, value in options.items())]
        # A cache inside some repository is no part of it.
        env = {"GIT_CEILING_DIRECTORIES": str(exported.parent)}
        try:
            output = run(command, timeout=TIMEOUT, cwd=here, env=env, what="pytest")
        except CommandError as error:
            return _not_passed(read_suite_run(report, error.output), str(error))
        return _passed(read_suite_run(report, output))


def try_at_the_gate(checkout: Path, plan: Plan) -> Try:
    """Return what runs a promise at a gate with the routes of a revision, on a copy that is kept from one to the next.

    Raises (when it runs):
        HarnessError: the revision is not there, or does not evaluate.
    """

    def run_with_routes(commit: str, promise: str) -> Tried:
        exported = revision.export(checkout, revision.base_of(checkout, commit), plan.cache)
        evaluation = evaluate(exported, plan.cache, STACKS[-1:])
        program = evaluation.programs.get((HUBS, STACKS[-1]))
        if not program:
            return Tried("", tuple(map(str, evaluation.errors.values())))
        evidence = plan.evidence / "replays" / re.sub(r"\W+", "-", commit)
        evidence.mkdir(parents=True, exist_ok=True)
        routes = evidence / "gate.yaml"
        routes.write_text(yaml.safe_dump(written(program_routes(program, plan.hubs))))
        changed = replace(plan, gate=routes, ol_infrastructure=None)
        found = run_tests(changed, [promise], evidence, TIMEOUT)
        if found.boot:
            return Tried("", (found.boot.message,))
        if found.failures:
            return Tried("red", tuple(failure.message for failure in found.failures))
        return _passed(found)

    return run_with_routes


def _passed(found: SuiteRun) -> Tried:
    if found.passed and not found.skipped:
        return Tried("green")
    return Tried("", (f"not checked: {found.skipped}" if found.skipped else found.trouble,))


def _not_passed(found: SuiteRun, ended: str) -> Tried:
    """Return red for a broken promise, and for a program that does not evaluate at all, which ends the run."""
    broken = (*found.failures, *([found.boot] if found.boot else ()))
    lines = tuple(failure.message for failure in broken)
    if lines and ": exit code 1." in ended:
        return Tried("red", lines)
    return Tried("", lines or (ended,))


def table(found: Iterable[ReplayResult]) -> Iterator[str]:
    """Yield the results as a table in Markdown."""
    yield "| commit | what was wrong | red line | verdict |"
    yield "| --- | --- | --- | --- |"
    for each in found:
        first = next(iter(each.red.splitlines()), "").replace("|", "\\|")
        yield f"| {each.commit} | {each.wrong} | {first} | {each.verdict} |"


def _conclude(found: Sequence[ReplayResult]) -> None:
    wrong = [
        each
        for each in found
        if each.verdict in (ReplayVerdict.NOT_RED, ReplayVerdict.OTHER_CAUSE, ReplayVerdict.NOT_GREEN)
    ]
    none = [each for each in found if each.verdict is ReplayVerdict.NONE]
    if wrong:
        raise HarnessError(f"{len(wrong)} of {len(found)} replays do not hold: {', '.join(e.commit for e in wrong)}")
    if none:
        raise EnvironmentFault(f"{len(none)} of {len(found)} replays have no verdict: {none[0].red}")


def _check_history(checkout: Path, chosen: Iterable[Replay]) -> None:
    """Refuse a checkout that lacks the fixes or their parents, before anything is run.

    Raises:
        InputError: it is shallow, or another repository.
    """
    for each in chosen:
        for commit in () if each.no_copy else (f"{each.commit}~1", each.mended_at):
            if not revision.has(checkout, commit):
                raise InputError(
                    f"{checkout}: expected the commit {commit} in its history, found none. {revision.cure(checkout)}"
                )


def walk(
    checkout: Path, cache: Path, since: str, known: Sequence[Replay], file: Path, steps: Steps
) -> Iterator[Walked]:
    """Evaluate the last stack of each commit since a date that can change an evaluation, the oldest first.

    Raises:
        InputError: there are no such commits.
    """
    commits = revision.first_parents(checkout, since)
    if not commits:
        raise InputError(f"--walk {since}: expected commits since then, found none. {revision.cure(checkout)}")
    found: list[Walked] = []
    sources: dict[Path, str] = {}
    for number, commit in enumerate(commits, 1):
        if sources and not _can_change(checkout, commit, sources):
            continue
        exported = revision.export(checkout, commit, cache)
        sources = _sources(exported) or sources
        why = _why_not(exported, cache)
        mended = next((each.commit for each in known if why and _explains(each, why, checkout, commit)), "")
        found.append(Walked(commit[:9], revision.describe(checkout, commit), why, mended))
        _write(file, {"walked": [asdict(each) for each in found]})
        state = " ".join(why.split()) if why else "evaluates"
        steps.say(f"{number:>5}/{len(commits)}  {found[-1].subject}  {state}")
        yield found[-1]


def _can_change(checkout: Path, commit: str, sources: Mapping[Path, str]) -> bool:
    """Tell a commit that touches what an evaluation comes from, more than constants that nothing of it uses."""
    return any(
        (path in sources or _is_beside(path)) and not _changes_others_constants(checkout, commit, path, sources)
        for path in revision.changed_files(checkout, commit)
    )


def _is_beside(path: Path) -> bool:
    """Tell a new file that belongs to a program or a pipeline without being imported yet."""
    beside = (*closure.APPLICATIONS.values(), closure.HUB_PIPELINES, closure.SIMPLE_PIPELINES)
    is_stack = path.parent == closure.CLUSTERS and path.suffix == ".yaml"
    return path.parent in beside or is_stack or path == closure.COURSES_PIPELINE


def _changes_others_constants(checkout: Path, commit: str, path: Path, sources: Mapping[Path, str]) -> bool:
    """Tell a change of constants whose names stand in no other file: most commits bring a version of something else."""
    sides = [_constants(revision.text_of(checkout, side, path)) for side in (f"{commit}~1", commit)]
    before, after = sides
    if path.suffix != ".py" or before is None or after is None:
        return False
    names = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    used = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b") if names else None
    return not any(used and used.search(text) for file, text in sources.items() if file != path)


def _constants(source: str) -> dict[str, str] | None:
    """Return the constants of a module by name, or None for a module with anything else in it."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return None
    found = {}
    for node in body:
        match node:
            case ast.Expr(value=ast.Constant()):
                continue
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
                found[name] = repr(value)
            case _:
                return None
    return found


def _sources(exported: Path) -> dict[Path, str]:
    """Return the files whose change can change an evaluation; none where that cannot be told."""
    try:
        files = closure.closure(exported)
    except ProgramError:
        return {}
    return {file: (exported / file).read_text(encoding="utf-8", errors="replace") for file in files}


def _why_not(exported: Path, cache: Path) -> str:
    """Return why a revision does not evaluate; empty if it does.

    Raises:
        PythonMissingError: this machine cannot evaluate it.
    """
    try:
        errors = evaluate(exported, cache, STACKS[-1:]).errors
    except PythonMissingError:
        raise
    except HarnessError as error:
        return str(error)
    return "\n".join(str(error) for error in errors.values())


def _explains(replay: Replay, why: str, checkout: Path, commit: str) -> bool:
    """Return whether a commit fails for what a later fix mended."""
    shown = bool(replay.says) and replay.says in why
    return shown and revision.lacks(checkout, commit, replay.mended_at)


def _report_walk(found: Sequence[Walked], steps: Steps) -> None:
    failed = [each for each in found if each.why]
    steps.say(f"{len(found) - len(failed)} of {len(found)} commits evaluate")
    for each in failed:
        steps.say(f"{each.commit}: {each.why}{f' (mended by {each.known})' if each.known else ''}")
    if unknown := [each.commit for each in failed if not each.known]:
        raise HarnessError(f"{len(unknown)} commits do not evaluate, for a reason that no replay names: {unknown}")


def _write(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
