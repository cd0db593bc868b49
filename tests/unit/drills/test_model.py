"""A drill, and its edits of texts and values."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness.base.errors import HarnessError
from harness.drills.model import (
    Addition,
    DoesNotApplyError,
    Renaming,
    Replacement,
    ValueChanges,
    check_tests,
    keys_of,
    select_drills,
)
from tests.unit.drills.examples import (
    EVALUATED,
    NAMED,
    OF_A_COURSE,
    OF_COURSE,
    OF_THE_PROGRAM,
    OURS,
    SUITE,
    read_drill,
)


def test_a_test_that_there_is_none_of(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"there is no promise test_a\.py::test_b"):
        check_tests(read_drill(tmp_path), {})
    check_tests(read_drill(tmp_path, **{"caught by": ["boot", f"{NAMED.test}[x]"]}), SUITE)


def test_a_drill_of_the_program_names_promises_about_the_program() -> None:
    suite = {**SUITE, EVALUATED.test: EVALUATED}
    check_tests(OF_THE_PROGRAM, suite)
    with pytest.raises(HarnessError, match=r"need the evaluated program alone, and test_a.py::test_link asks for"):
        check_tests(dataclasses.replace(OF_THE_PROGRAM, caught_by=(NAMED.test,)), suite)


def test_a_drill_of_a_course_names_promises_about_courses() -> None:
    """Those of the deployment do not run beside a --course, and no other drill has one."""
    suite = {**SUITE, OF_COURSE.test: OF_COURSE}
    check_tests(OF_A_COURSE, suite)
    with pytest.raises(HarnessError, match=r"expected promises about a --course, .* found test_a\.py::test_link"):
        check_tests(dataclasses.replace(OF_A_COURSE, caught_by=(NAMED.test,)), suite)
    with pytest.raises(HarnessError, match=r"expected no promises about a --course, .* found test_course\.py"):
        check_tests(dataclasses.replace(OF_A_COURSE, course=None), suite)


class TestSelecting:
    def test_by_words(self) -> None:
        assert {each.subject for each in select_drills(OURS, words="CULLER:")} == {"culler"}
        assert [each.name for each in select_drills(OURS, words="uppercase links")] == [OURS_BY_WORD]

    def test_shards_are_all_and_share_nothing(self) -> None:
        parts = [select_drills(OURS, shard=f"{part}/4") for part in (1, 2, 3, 4)]
        assert sorted(each.name for part in parts for each in part) == sorted(each.name for each in OURS)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1

    @pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "a/b"])
    def test_no_such_shard(self, shard: str) -> None:
        with pytest.raises(HarnessError, match="expected a part of all"):
            select_drills(OURS, shard=shard)


OURS_BY_WORD = "uppercase links open the default course"


class TestEditing:
    def test_replacement(self) -> None:
        assert Replacement(("a b",), ("c",)).on("x a b y") == "x c y"
        assert Replacement(("nowhere", "a"), ("x", "y")).on("a b") == "y b"

    @pytest.mark.parametrize("text", ["", "a a"])
    def test_what_is_not_there_once(self, text: str) -> None:
        with pytest.raises(DoesNotApplyError, match="expected once"):
            Replacement(("a",), ("b",)).on(text)

    def test_renaming(self) -> None:
        assert Renaming("a", "b").on("a.aa(a)") == "b.aa(b)"
        with pytest.raises(DoesNotApplyError):
            Renaming("a", "b").on("aa")

    def test_addition(self) -> None:
        assert Addition("c = 1\n").on("a = 1\n\n") == "a = 1\n\nc = 1\n"


class TestValues:
    BEFORE: ClassVar[dict[str, Any]] = {"a": {"b": {"c": 1, "d": 2}, "x.y": 3}, "list": [{"k": 1}, {"k": 2}]}

    def test_paths(self) -> None:
        assert keys_of(r"a.b\.c.d") == ["a", "b.c", "d"]

    def test_given(self) -> None:
        changes = ValueChanges({"a.b": {"c": 5}, r"a.x\.y": 4, "new.one": 1, "list.1.k": 9})
        assert changes.on(self.BEFORE) == {
            "a": {"b": {"c": 5}, "x.y": 4},
            "list": [{"k": 1}, {"k": 9}],
            "new": {"one": 1},
        }

    def test_deleted(self) -> None:
        found = ValueChanges(deleted=("a.b.c", "list.0")).on(self.BEFORE)
        assert found == {"a": {"b": {"d": 2}, "x.y": 3}, "list": [{"k": 2}]}

    @pytest.mark.parametrize("path", ["a.nothing", "nothing.at.all", "a.b.c.d", "list.7", "list.k"])
    def test_deleted_and_not_there(self, path: str) -> None:
        with pytest.raises(DoesNotApplyError, match=path):
            ValueChanges(deleted=(path,)).on(self.BEFORE)
