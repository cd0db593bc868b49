"""The promises of a run, as its last lines tell them."""

from __future__ import annotations

from harness.report.outcomes import Case, State, told


def case(state: State, parameters: str = "", promise: str = "A link opens.", why: str = "") -> Case:
    return Case(promise, parameters, state, why)


class TestTold:
    def test_cases_that_ended_alike_share_a_line(self) -> None:
        assert told([case(State.KEPT, "a"), case(State.KEPT, "b")]) == ["kept        A link opens. [2 cases]"]

    def test_a_single_case_is_named(self) -> None:
        assert told([case(State.KEPT, "a"), case(State.KEPT)]) == ["kept        A link opens. [2 cases]"]
        assert told([case(State.KEPT, "a")]) == ["kept        A link opens. [a]"]

    def test_broken_cases_have_a_line_each_at_the_end(self) -> None:
        lines = told([case(State.BROKEN, "a", why="404"), case(State.KEPT, "b"), case(State.BROKEN, "c", why="404")])
        assert lines == [
            "kept        A link opens. [b]",
            "BROKEN      A link opens. [a]: 404",
            "BROKEN      A link opens. [c]: 404",
        ]

    def test_what_ended_for_another_reason_is_told_apart(self) -> None:
        lines = told([case(State.UNCHECKED, "a", why="no GPU"), case(State.UNCHECKED, "b", why="no chart")])
        assert lines == ["not checked A link opens. [a]: no GPU", "not checked A link opens. [b]: no chart"]
