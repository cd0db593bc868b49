"""What a person reads while something is built or pulled."""

from __future__ import annotations

import threading
import tomllib
from pathlib import Path

import pytest

from harness.artifacts import forecast as module
from harness.artifacts.build_cache import BuildCache
from harness.artifacts.forecast import EXPECTED, Durations, Forecast
from harness.artifacts.recipes import recipes
from harness.plan.versions import IMAGES, read_versions


class Clock:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, of a harness that expects a build of Go to take 300 s."""
    expected = tmp_path / "seconds.toml"
    expected.write_text("go-cluster = 300\nhub = 40\n")
    monkeypatch.setattr(module, "EXPECTED", expected)
    return tmp_path / "cache"


def made(cache: Path, clock: Clock, **took: float) -> None:
    """Let pieces of work take their seconds, one after the other."""
    forecast = Forecast(list(took), Durations(cache), at_a_time=1, clock=clock)
    for name, seconds in took.items():
        with forecast.timed(name):
            clock.now += seconds


def test_the_first_time_is_as_expected(cache: Path, clock: Clock) -> None:
    forecast = Forecast(["go-cluster", "hub"], Durations(cache), at_a_time=1, clock=clock)
    with forecast.timed("go-cluster"):
        clock.now += 60
        assert forecast.line() == "go-cluster 60 s of 300 s expected; then 1 more; about 5 min left"


def test_the_second_time_is_as_the_last(cache: Path, clock: Clock) -> None:
    made(cache, clock, **{"go-cluster": 500.0})
    forecast = Forecast(["go-cluster"], Durations(cache), at_a_time=1, clock=clock)
    with forecast.timed("go-cluster"):
        clock.now += 450
        assert forecast.line() == "go-cluster 450 s of 500 s last time; about 50 s left"
        clock.now += 60
        assert forecast.line() == "go-cluster 510 s, more than the 500 s last time; how much is left is not known"


def test_what_runs_side_by_side_is_not_added_up(cache: Path, clock: Clock) -> None:
    made(cache, clock, a=100, b=100, c=100)
    forecast = Forecast(["a", "b", "c"], Durations(cache), at_a_time=2, clock=clock)
    with forecast.timed("a"), forecast.timed("b"):
        clock.now += 20
        assert forecast.line() == "a 20 s of 100 s last time, b 20 s of 100 s last time; then 1 more; about 3 min left"


def test_what_has_never_been_done_is_named(cache: Path, clock: Clock) -> None:
    forecast = Forecast(["an image", "hub"], Durations(cache), at_a_time=2, clock=clock)
    with forecast.timed("an image"):
        assert forecast.line() == (
            "an image 0 s for the first time here; then 1 more; about 40 s left and 1 of unknown length"
        )
    with forecast.timed("hub"):
        assert forecast.line() == "hub 0 s of 40 s expected; about 40 s left"


def test_nothing_is_known(cache: Path, clock: Clock) -> None:
    forecast = Forecast(["an image"], Durations(cache), at_a_time=1, clock=clock)
    with forecast.timed("an image"):
        assert forecast.line().endswith("; how much is left is not known")


def test_what_fails_is_not_what_it_takes(cache: Path, clock: Clock) -> None:
    forecast = Forecast(["hub"], Durations(cache), at_a_time=1, clock=clock)
    with pytest.raises(ZeroDivisionError), forecast.timed("hub"):
        raise ZeroDivisionError
    assert Durations(cache).last("hub") is None


def test_two_at_once_are_both_kept(cache: Path, clock: Clock) -> None:
    forecast = Forecast(["a", "b"], Durations(cache), at_a_time=2, clock=clock)
    both = threading.Barrier(2, timeout=10)

    def work(name: str) -> None:
        with forecast.timed(name):
            both.wait()

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (Durations(cache).last("a"), Durations(cache).last("b")) == (0.0, 0.0)
    assert [file.name for file in cache.iterdir()] == ["seconds.json"]


def test_a_damaged_file_counts_as_none(cache: Path) -> None:
    cache.mkdir()
    (cache / "seconds.json").write_text("{")
    assert Durations(cache).expected("hub") == 40.0


def test_what_is_expected_is_of_artifacts_that_there_are(tmp_path: Path) -> None:
    known = BuildCache(recipes(read_versions()), IMAGES, tmp_path).recipes
    expected = tomllib.loads(EXPECTED.read_text())
    assert expected
    assert expected.keys() <= known.keys()
