"""The timeline: who sees what, and how it reads."""

from __future__ import annotations

import threading
from dataclasses import FrozenInstanceError

import pytest

from harness.base.timeline import LONGEST_MOMENT, Moment, Timeline, render

ME, OTHER = "11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555"


def texts(timeline: Timeline, *people: str, since: float = 0.0, until: float = 1e12) -> list[str]:
    return [moment.text for moment in timeline.slice(since, until, people)]


class TestTimeline:
    def test_is_in_order_whoever_came_first(self) -> None:
        """Lines of a log come late, and have their own time."""
        timeline = Timeline()
        timeline.add("http", "second", at=2.0)
        timeline.add("hub", "first", at=1.0)
        timeline.add("hub", "third", at=3.0)
        assert texts(timeline) == ["first", "second", "third"]

    def test_now_unless_said_otherwise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("harness.base.timeline.time.time", lambda: 7.0)
        timeline = Timeline()
        timeline.add("test", "begins", who=ME)
        assert timeline.slice(0, 9, [ME]) == [Moment(7.0, "test", ME, "begins")]

    def test_a_span(self) -> None:
        timeline = Timeline()
        for at in range(5):
            timeline.add("test", str(at), at=at)
        assert texts(timeline, since=1, until=3) == ["1", "2", "3"]

    def test_the_oldest_go_when_it_is_full(self) -> None:
        timeline = Timeline(most=2)
        for text in "abc":
            timeline.add("hub", text)
        assert texts(timeline) == ["b", "c"]

    def test_a_moment_has_an_end(self) -> None:
        timeline = Timeline()
        timeline.add("notebook", "x" * (LONGEST_MOMENT + 1))
        assert texts(timeline) == ["x" * LONGEST_MOMENT]

    def test_many_write_at_once(self) -> None:
        timeline = Timeline()

        def write() -> None:
            for _ in range(200):
                timeline.add("hub", "x")
                timeline.slice(0, 1, [])

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(texts(timeline)) == 800

    def test_a_moment_is_what_it_is(self) -> None:
        with pytest.raises(FrozenInstanceError):
            Moment(0.0, "hub", "", "x").text = "y"  # type: ignore[misc]  # it is frozen


class TestWhose:
    @pytest.mark.parametrize(
        ("who", "text", "shown"),
        [
            (ME, "mine", True),
            (OTHER, "another's", False),
            (ME, f"mine, about {OTHER}", True),
            (OTHER, f"another's, about {ME}", False),
            ("", "nobody's", True),
            ("", f"GET /user/{ME}/api", True),
            ("", f"GET /user/{OTHER}/api", False),
            ("", f"{OTHER} may not go to {ME}", True),
            ("admin", "the author's", False),
        ],
    )
    def test_other_people_are_left_out(self, who: str, text: str, shown: bool) -> None:
        timeline = Timeline()
        timeline.add("hub", text, who=who, at=1.0)
        assert bool(texts(timeline, ME)) is shown

    def test_who_is_nobody_sees_what_is_nobodys(self) -> None:
        timeline = Timeline()
        timeline.add("hub", "started")
        timeline.add("hub", f"spawning {ME}")
        assert texts(timeline) == ["started"]


class TestWhere:
    @pytest.mark.parametrize(
        ("place", "places", "shown"),
        [
            ("jupyter", ["jupyter"], True),
            ("jupyter-scaled", ["jupyter"], False),
            ("", ["jupyter"], True),
            ("", [], True),
            ("jupyter-scaled", None, True),
        ],
    )
    def test_other_hubs_are_left_out(self, place: str, places: list[str] | None, shown: bool) -> None:
        timeline = Timeline()
        timeline.add("hub", "started", at=1.0, place=place)
        assert bool(timeline.slice(0, 2, [], places)) is shown


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[32m[I ServerApp]\x1b[m up", "[I ServerApp] up"),
        ("\x1b[1;38;5;208minfo\x1b[0K: Adding route", "info: Adding route"),
        ("\x1b]8;;http://there\x1b\\link\x1b]0;title\x07", "link"),
        ("none at all [32m", "none at all [32m"),
    ],
)
def test_colours_are_for_a_terminal(text: str, plain: str) -> None:
    timeline = Timeline()
    timeline.add("notebook", text)
    assert texts(timeline) == [plain]


class TestRender:
    def test_reads_like_a_log(self) -> None:
        moments = [Moment(100.5, "http", ME, "200 /"), Moment(112.34, "hub", "", "Traceback\n  boom")]
        assert render(moments, 100.0).splitlines() == [
            "    +0.50 s  http      200 /",
            "   +12.34 s  hub       Traceback",
            "                         boom",
        ]

    def test_nothing(self) -> None:
        assert render([], 0.0) == ""
        assert render([Moment(0, "hub", "", "")], 0.0).split() == ["+0.00", "s", "hub"]

    def test_what_is_left_out_is_said(self) -> None:
        moments = [Moment(at, "hub", "", str(at)) for at in range(20)]
        lines = render(moments, 0.0, most=8).splitlines()
        assert [line.split()[-1] for line in lines if "hub" in line] == ["0", "1", "14", "15", "16", "17", "18", "19"]
        assert lines[2] == "… 12 moments are left out here …"
        assert "left out" not in render(moments, 0.0, most=20)
