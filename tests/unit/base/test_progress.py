"""What a run says while it gets ready."""

from __future__ import annotations

import io
import itertools
import re
import threading

import pytest
from rich.console import Console

from harness.base.progress import Steps, StoppedError
from harness.base.wait import NotYet, wait_until

PICTURE = re.compile(r"\.\.\. +\d+\.\d s  cluster *\r?\n *\.\.\. +\d+\.\d s  registry")


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def steps(out: io.StringIO) -> Steps:
    """The steps of a run whose output goes into a file."""
    return Steps(Console(file=out, width=80))


def test_a_step_is_one_plain_line(steps: Steps, out: io.StringIO) -> None:
    with steps.step("kind cluster") as step:
        assert out.getvalue() == ""
        step.done("two nodes")
    assert re.fullmatch(r"  ok     +\d+\.\d s  kind cluster: two nodes\n", out.getvalue())


def test_a_step_without_an_outcome(steps: Steps, out: io.StringIO) -> None:
    with steps.step("teardown"):
        pass
    assert out.getvalue().endswith("s  teardown\n")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_step_that_fails_says_so(steps: Steps, out: io.StringIO, error: type[BaseException]) -> None:
    with pytest.raises(error), steps.step("packages"):
        raise error
    assert re.fullmatch(r"  FAILED +\d+\.\d s  packages\n", out.getvalue())


def test_elapsed_time(steps: Steps, out: io.StringIO) -> None:
    with steps.step("images") as step:
        step.started -= 100
    [span] = steps.spans
    assert span.name == "images"
    assert 100 <= span.seconds < 105
    assert re.match(r"  ok +10\d\.\d s  images", out.getvalue())


@pytest.mark.parametrize("text", ["x" * 200, "[bold]markup[/bold] 1.5 s", "word " * 40 + "end"])
def test_what_is_said_stays_as_it_is(steps: Steps, out: io.StringIO, text: str) -> None:
    """Whole, on one line, however long: a log is searched by line."""
    steps.say(text)
    with steps.step(text):
        pass
    message, ended = out.getvalue().splitlines()
    assert message == text
    assert ended.endswith(f"s  {text}")


def test_when_the_run_is_ending_nothing_begins_but_its_end(steps: Steps, out: io.StringIO) -> None:
    steps.go_on()
    steps.stop()
    with pytest.raises(StoppedError), steps.step("images"):
        raise AssertionError("it began")
    with pytest.raises(StoppedError):
        steps.go_on()
    with steps.step("teardown", always=True):
        pass
    assert [span.name for span in steps.spans] == ["teardown"]
    assert "images" not in out.getvalue()


def test_side_by_side(steps: Steps, out: io.StringIO) -> None:
    both = threading.Barrier(2, timeout=10)

    def work(name: str) -> None:
        with steps.step(name):
            both.wait()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("cluster", "registry")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert {span.name for span in steps.spans} == {"cluster", "registry"}
    assert sorted(line.rpartition(" ")[2] for line in out.getvalue().splitlines()) == ["cluster", "registry"]


def test_a_terminal_shows_what_is_under_way(out: io.StringIO) -> None:
    steps = Steps(Console(file=out, width=80, force_terminal=True, color_system=None))
    with steps.step("cluster"), steps.step("registry"):
        # It fails here where the picture does not come.
        wait_until("both steps on screen", lambda: PICTURE.search(out.getvalue()) or NotYet(out.getvalue()), timeout=10)
    assert out.getvalue().rindex("\x1b[?25h") > out.getvalue().rindex("\x1b[?25l"), "the cursor comes back"
    assert re.search(r"ok +\d+\.\d s  cluster\n", out.getvalue())


def test_an_outlook_is_a_line_a_minute_until_its_work_is_over(steps: Steps, out: io.StringIO) -> None:
    seconds = itertools.count(0, 60)
    with steps.outlook(lambda: f"go {next(seconds)} s of 300 s", every=0.01):
        wait_until("two lines", lambda: out.getvalue().count("\n") >= 2 or NotYet(out.getvalue()), timeout=10)
    lines = out.getvalue().splitlines()
    assert lines[:2] == ["  ...    go 0 s of 300 s", "  ...    go 60 s of 300 s"]
    assert not [thread for thread in threading.enumerate() if thread.name == "outlook"]


def test_an_outlook_of_short_work_is_not_said(steps: Steps, out: io.StringIO) -> None:
    with steps.outlook(lambda: "go 0 s of 300 s"), steps.step("build go"):
        pass
    assert re.fullmatch(r"  ok +\d+\.\d s  build go\n", out.getvalue())


def test_an_outlook_ends_with_work_that_fails(steps: Steps) -> None:
    with pytest.raises(ZeroDivisionError), steps.outlook(lambda: "go"):
        raise ZeroDivisionError
    assert not [thread for thread in threading.enumerate() if thread.name == "outlook"]


def test_a_terminal_shows_the_outlook_below_the_steps(out: io.StringIO) -> None:
    steps = Steps(Console(file=out, width=80, force_terminal=True, color_system=None))
    picture = re.compile(r"\.\.\. +\d+\.\d s  build go *\r?\n *go 5 s of 300 s; about 5 min left")
    with steps.outlook(lambda: "go 5 s of 300 s; about 5 min left"), steps.step("build go"):
        wait_until("both on screen", lambda: picture.search(out.getvalue()) or NotYet(out.getvalue()), timeout=10)
    assert "about 5 min left" not in out.getvalue()[out.getvalue().rindex("ok") :]
