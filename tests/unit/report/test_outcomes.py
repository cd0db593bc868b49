"""The promises of a run, as its last lines tell them."""

from __future__ import annotations

from harness.report.outcomes import Case, Status, format_outcomes


def case(status: Status, parameters: str = "", promise: str = "A link opens.", why: str = "") -> Case:
    return Case(promise, parameters, status, why)


class TestFormat:
    def test_cases_that_ended_alike_share_a_line(self) -> None:
        assert format_outcomes([case(Status.KEPT, "a"), case(Status.KEPT, "b")]) == [
            "kept        A link opens. [2 cases]"
        ]

    def test_a_single_case_is_named(self) -> None:
        assert format_outcomes([case(Status.KEPT, "a"), case(Status.KEPT)]) == ["kept        A link opens. [2 cases]"]
        assert format_outcomes([case(Status.KEPT, "a")]) == ["kept        A link opens. [a]"]

    def test_broken_cases_have_a_line_each_at_the_end(self) -> None:
        lines = format_outcomes(
            [case(Status.BROKEN, "a", why="404"), case(Status.KEPT, "b"), case(Status.BROKEN, "c", why="404")]
        )
        assert lines == [
            "kept        A link opens. [b]",
            "BROKEN      A link opens. [a]: 404",
            "BROKEN      A link opens. [c]: 404",
        ]

    def test_what_ended_for_another_reason_is_told_apart(self) -> None:
        lines = format_outcomes(
            [case(Status.UNCHECKED, "a", why="no GPU"), case(Status.UNCHECKED, "b", why="no chart")]
        )
        assert lines == ["not checked A link opens. [a]: no GPU", "not checked A link opens. [b]: no chart"]

    def test_a_self_check_is_no_promise(self) -> None:
        cases = [
            Case("The registry has a password.", "", status, test="tests/selfcheck/test_a.py::test_b", why=why)
            for status, why in ((Status.KEPT, ""), (Status.BROKEN, "it has none"))
        ]
        assert format_outcomes(cases) == [
            "passed      The registry has a password.",
            "FAILED      The registry has a password.: it has none",
        ]
