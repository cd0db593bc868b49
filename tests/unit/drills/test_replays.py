"""Replays of the owners' fixes: how they are written, and what makes a verdict."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from harness.base.errors import EnvironmentFault, HarnessError
from harness.base.shell import run
from harness.drills import replays
from harness.drills.judge import SuiteFailure, SuiteRun
from harness.drills.replays import Replay, ReplayResult, ReplayVerdict, Tried, read_replays, run_one, table
from harness.plan.plan import Plan
from harness.program import revision
from tests.unit.drills.examples import CHECKOUT

WRITTEN = {"commit": "abcdef123", "wrong": "no hub", "promise": "test_a.py::test_b", "says": "no hub"}
REPLAY = Replay.model_validate(WRITTEN)
RED, GREEN = Tried("red", ("a: there is no hub",)), Tried("green")


def test_ours_are_seventeen() -> None:
    found = read_replays(CHECKOUT / replays.REPLAYS)
    assert len(found) >= 17
    assert len({each.commit for each in found}) == len(found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"because": "x"}, "0: because: unknown"),
        ({"commit": 74914737}, "0: commit: expected a text, found 74914737"),
        ({"commit": "HEAD"}, "0: commit"),
        ({"says": ""}, "expected 'promise' and 'says', or 'no copy' with the reason"),
        ({"no copy": "it is about time"}, "it stands without one"),
        ({"at the gate": "test_a.py::test_c"}, "expected 'at the gate' and 'gate says', or none of them"),
    ],
)
def test_what_is_not_written_as_it_should_be(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    file = tmp_path / "replays.yaml"
    file.write_text(yaml.safe_dump([{**WRITTEN, **changes}]))
    with pytest.raises(HarnessError, match=re.escape(message)) as error:
        read_replays(file)
    assert "A replay has the keys commit, wrong, promise, says, green at, no copy" in str(error.value)


@pytest.mark.parametrize(
    ("before", "after", "verdict", "red"),
    [
        (RED, GREEN, ReplayVerdict.HOLDS, "a: there is no hub"),
        (GREEN, GREEN, ReplayVerdict.NOT_RED, ""),
        (Tried("red", ("a: 404",)), GREEN, ReplayVerdict.OTHER_CAUSE, "a: 404"),
        (RED, Tried("red", ("b: 404",)), ReplayVerdict.NOT_GREEN, "b: 404"),
        (Tried("", ("no Python",)), GREEN, ReplayVerdict.NONE, "no Python"),
        (RED, Tried("", ("no Python",)), ReplayVerdict.NONE, "at abcdef123: no Python"),
    ],
)
def test_verdicts(before: Tried, after: Tried, verdict: ReplayVerdict, red: str) -> None:
    tried = {"abcdef123~1": before, "abcdef123": after}
    found = run_one(REPLAY, lambda commit, _: tried[commit])
    assert (found.verdict, found.red) == (verdict, red)


def test_a_fix_that_was_not_enough_is_green_later() -> None:
    asked: list[str] = []

    def try_promise(commit: str, _: str) -> Tried:
        asked.append(commit)
        return RED if len(asked) == 1 else GREEN

    run_one(Replay.model_validate({**WRITTEN, "green at": "fedcba987"}), try_promise)
    assert asked == ["abcdef123~1", "fedcba987"]


def test_what_no_copy_shows_runs_nothing() -> None:
    replay = Replay.model_validate({"commit": "abcdef123", "wrong": "x", "no copy": "it is about time"})
    found = run_one(replay, lambda *_: pytest.fail("it ran"))
    assert (found.verdict, found.red) == (ReplayVerdict.NO_COPY, "it is about time")


def test_at_the_gate_it_is_the_other_promise() -> None:
    replay = Replay.model_validate({**WRITTEN, "at the gate": "test_c.py::test_d", "gate says": "the login"})
    asked: list[str] = []

    def try_promise(_: str, promise: str) -> Tried:
        asked.append(promise)
        return GREEN

    found = run_one(replay.with_running_gate(), try_promise)
    assert (found.promise, found.verdict, asked) == ("test_c.py::test_d", ReplayVerdict.NOT_RED, ["test_c.py::test_d"])


def test_three_are_shown_at_the_gate() -> None:
    """The owners' fixes of a login, as issue 29 names them."""
    found = {each.commit for each in read_replays(CHECKOUT / replays.REPLAYS) if each.at_the_gate}
    assert found == {"a2bc63113", "48395e12f", "4d1367366"}


def test_a_gate_that_does_not_start_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planned: Callable[..., Plan]
) -> None:
    program = SimpleNamespace(programs={("jupyterhub", "Production"): object()}, errors={})
    monkeypatch.setattr(revision, "export", lambda *_: tmp_path)
    monkeypatch.setattr(revision, "base_of", lambda _, commit: commit)
    monkeypatch.setattr(replays, "evaluate", lambda *_: program)
    monkeypatch.setattr(replays, "program_routes", lambda *_: {})
    tried_at_the_gate = replays.try_at_the_gate(tmp_path, planned())
    for found, tried in (
        (SuiteRun(boot=SuiteFailure("boot", "no gate")), Tried("", ("no gate",))),
        (SuiteRun((SuiteFailure("a", "the login"),)), Tried("red", ("the login",))),
        (SuiteRun(passed=1), GREEN),
    ):
        monkeypatch.setattr(replays, "run_tests", lambda *_, found=found: found)
        assert tried_at_the_gate("abcdef123", "test_c.py::test_d") == tried
    program.programs.clear()
    program.errors["Production"] = "does not evaluate"
    assert tried_at_the_gate("abcdef123", "test_c.py::test_d") == Tried("", ("does not evaluate",))


@pytest.mark.parametrize(
    ("found", "ended", "tried"),
    [
        (SuiteRun((SuiteFailure("a", "404"),)), "pytest: exit code 1.", Tried("red", ("404",))),
        # The program does not evaluate for the stack, which ends the run.
        (SuiteRun(boot=SuiteFailure("boot", "main.py: no")), "pytest: exit code 1.", Tried("red", ("main.py: no",))),
        (SuiteRun(boot=SuiteFailure("boot", "no Python")), "pytest: exit code 10.", Tried("", ("no Python",))),
        (SuiteRun(trouble="no test ran"), "pytest: exit code 4.", Tried("", ("pytest: exit code 4.",))),
    ],
)
def test_what_did_not_pass(found: SuiteRun, ended: str, tried: Tried) -> None:
    assert replays._not_passed(found, ended) == tried


def test_what_was_skipped_is_not_green() -> None:
    assert replays._passed(SuiteRun(passed=2)) == GREEN
    assert replays._passed(SuiteRun(passed=2, skipped="no data hub")) == Tried("", ("not checked: no data hub",))


def test_table_and_exit_code() -> None:
    found = [
        ReplayResult("abcdef123", "no hub", "test_a", "a | b\nmore", ReplayVerdict.HOLDS),
        ReplayResult("abcdef124", "no", "test_b", "", ReplayVerdict.NOT_RED),
        ReplayResult("abcdef125", "no", "test_b", "no Python", ReplayVerdict.NONE),
    ]
    assert list(table(found))[2] == "| abcdef123 | no hub | a \\| b | holds |"
    replays._conclude(found[:1])
    with pytest.raises(HarnessError, match="1 of 3 replays do not hold: abcdef124") as error:
        replays._conclude(found)
    assert not isinstance(error.value, EnvironmentFault)
    with pytest.raises(EnvironmentFault, match="1 of 1 replays have no verdict: no Python"):
        replays._conclude(found[2:])


class TestHistory:
    """A checkout with history, and one without."""

    @pytest.fixture
    def checkout(self, tmp_path: Path) -> Path:
        place = tmp_path / "checkout"
        place.mkdir()
        git(place, "init", "--quiet", "--initial-branch=main")
        for number in range(3):
            (place / f"file{number}").write_text("")
            git(place, "add", ".")
            git(place, "commit", "--quiet", "--message", f"{number}")
        return place

    def test_a_fix_that_is_there(self, checkout: Path) -> None:
        replays._check_history(checkout, [REPLAY.model_copy(update={"commit": git(checkout, "rev-parse", "HEAD")})])

    def test_shallow(self, checkout: Path, tmp_path: Path) -> None:
        git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{checkout}", "shallow")
        shallow = REPLAY.model_copy(update={"commit": git(checkout, "rev-parse", "HEAD")})
        with pytest.raises(HarnessError, match=r"expected the commit .*~1 in its history.* git fetch --unshallow"):
            replays._check_history(tmp_path / "shallow", [shallow])

    def test_walk_says_what_changed_and_what_mended_it(self, checkout: Path) -> None:
        first, second, last = git(checkout, "rev-list", "--reverse", "HEAD").split()
        assert revision.first_parents(checkout, "2000-01-01") == [first, second, last]
        assert revision.changed_files(checkout, last) == [Path("file2")]
        replay = REPLAY.model_copy(update={"commit": second})
        assert replays._explains(replay, "no hub", checkout, first)
        assert not replays._explains(replay, "no hub", checkout, second)
        assert not replays._explains(replay, "404", checkout, first)

    @pytest.mark.parametrize(
        ("text", "matters"),
        [
            ('"""Versions."""\nHUB = "2"\nVAULT = "1"\n', True),
            ('"""Versions."""\nHUB = "1"\nVAULT = "2"\n', False),
            ('# why\nHUB = "1"\nVAULT = "1"\nNEW = 3\n', False),
            ('HUB = "1"\nVAULT = open("x")\n', True),
            ('HUB = "1"\nVAULT =\n', True),
        ],
        ids=["used", "of others", "new", "no constant", "no Python"],
    )
    def test_walk_leaves_out_constants_that_nothing_uses(self, checkout: Path, text: str, matters: bool) -> None:
        versions, main = Path("versions.py"), Path("main.py")
        for content in ('HUB = "1"\nVAULT = "1"\n', text):
            (checkout / versions).write_text(content)
            git(checkout, "add", ".")
            git(checkout, "commit", "--quiet", "--message", "versions")
        sources = {versions: "", main: "from versions import HUB\n"}
        assert replays._can_change(checkout, git(checkout, "rev-parse", "HEAD"), sources) is matters
        assert not replays._can_change(checkout, git(checkout, "rev-parse", "HEAD"), {main: ""}), "not in the closure"


def git(place: Path, *args: str) -> str:
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    return run(["git", *author, "-C", place, *args], timeout=20).strip()
