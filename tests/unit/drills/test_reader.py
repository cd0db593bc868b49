"""Drills as they are written."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from harness.base.errors import HarnessError
from harness.drills.model import Addition, Renaming, Replacement, ValueChanges
from harness.drills.reader import read_drills, read_file
from harness.plan.hubs import STUDENT
from tests.unit.drills.examples import (
    WRITTEN,
    read_drill,
    write_drills,
)


class TestReading:
    def test_a_regression(self, tmp_path: Path) -> None:
        found = read_drill(tmp_path, says="lost")
        assert (found.name, found.hurts, found.caught_by) == ("all is lost", "student", ("test_a.py::test_b",))
        assert (found.subject, found.line, found.says) == ("cookies", 1, "lost")
        assert found.values == {STUDENT: ValueChanges({"a": 1})}

    def test_edits_of_the_program_in_their_order(self, tmp_path: Path) -> None:
        edits = [
            {"file": "a", "replace": "b", "with": "c"},
            {"file": "d", "append": "e"},
            {"file": "a", "rename": "c", "to": "f"},
        ]
        found = read_drill(tmp_path, program=edits, values={})
        assert found.program == {"a": (Replacement(("b",), ("c",)), Renaming("c", "f")), "d": (Addition("e"),)}

    def test_an_authors_course(self, tmp_path: Path) -> None:
        """A notebook is written as its cells, and a course is a copy of the template."""
        notebooks = {"b.ipynb": ["1", "2"], "c.ipynb": "3"}
        course = read_drill(tmp_path, course={"files": {"a.csv": None}, "notebooks": notebooks}, values={}).course
        assert course is not None
        assert (course.course, course.files["a.csv"]) == ("template", None)
        cells = [[cell.source for cell in nbformat.reads(course.files[name], 4).cells] for name in notebooks]
        assert cells == [["1", "2"], ["3"]]

    @pytest.mark.parametrize(
        ("keys", "complaint"),
        [
            ({"hurts": "nobody"}, "hurts: expected 'student', 'author', 'operator' or '', found 'nobody'"),
            ({"caught by": []}, "a regression has the test that must catch it"),
            ({"wanted": "something"}, "a regression has the test that must catch it"),
            ({"valid": "it is", "try": "test_a.py::test_b"}, "a valid change hurts nobody"),
            (
                {"colour": "red"},
                "colour: unknown key; known are authoring values, ",
            ),
            ({"values": {}}, "it changes nothing"),
            ({"values": [1]}, "values: expected a mapping, found [1]"),
            ({"values deleted": 3}, "values deleted: expected a list, found 3"),
            ({"spawner": [{"replace": "a"}]}, "spawner: 0: replace: with: expected, and missing"),
            (
                {"spawner": [{"put": "a"}]},
                "spawner: 0: expected {replace, with}, {rename, to} or {append}",
            ),
            (
                {"spawner": [{"append": "a", "to": "b"}]},
                "spawner: 0: append: to: unknown key; expected {replace, with}",
            ),
            (
                {"spawner": [{"replace": ["a", "b", "c"], "with": ["d", "e"]}]},
                "spawner: 0: replace: expected 'with' one text",
            ),
            ({"program": [{"append": "a"}]}, "program: 0: file: expected, and missing"),
            ({"program": [{"file": "a", "put": "b"}]}, "program: 0: edit: expected {replace, with}, {rename, to}"),
            (
                {"program": [{"file": "a", "append": "b"}]},
                "'program': a drill of the owners' program has no deployment",
            ),
            (
                {"course": {"files": {"a": "b"}}},
                "'course': a drill of an author's course changes nothing of the deploy",
            ),
            ({"course": {"copy": "a"}}, "course: copy: unknown key; known are dockerfile, files, notebooks"),
            ({"remarked": "a", "says": "b"}, "'remarked' takes the place of 'says'"),
            ({"chart": {"append": "a"}}, "chart: file: expected, and missing"),
            ({"image": {"files": {}}}, "image: course: expected, and missing"),
            ({"registry": {"push": "a"}}, "registry: push: unknown key; known are delete, retag"),
            ({"registry": {"retag": ["a"]}}, "registry: retag: 1: expected, and missing"),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_told_with_its_place(
        self, tmp_path: Path, keys: dict[str, object], complaint: str
    ) -> None:
        with pytest.raises(HarnessError) as error:
            read_file(write_drills(tmp_path, WRITTEN, {**WRITTEN, "name": "another", **keys}))
        assert str(error.value).startswith(f"cookies.yaml, line 6, 'another': {complaint}")

    def test_a_key_that_is_there_twice(self, tmp_path: Path) -> None:
        file = tmp_path / "cookies.yaml"
        file.write_text("- name: a\n  hurts: student\n  hurts: author\n")
        with pytest.raises(HarnessError, match="line 1, 'a': 'hurts' is there twice"):
            read_file(file)
        file.write_text("- name: a\n  values: {hub.a: 1, hub.b: 2, hub.a: 3}\n")
        with pytest.raises(HarnessError, match=r"line 1, 'a': 'hub\.a' is there twice"):
            read_file(file)

    def test_no_list_and_no_yaml(self, tmp_path: Path) -> None:
        file = tmp_path / "cookies.yaml"
        for text, complaint in (("a: 1", "expected a list of drills"), ("- [", "not YAML")):
            file.write_text(text)
            with pytest.raises(HarnessError, match=complaint):
                read_file(file)

    def test_two_of_one_name(self, tmp_path: Path) -> None:
        write_drills(tmp_path, WRITTEN, WRITTEN)
        with pytest.raises(HarnessError, match=r"all is lost: cookies\.yaml, line \d+ has a drill of the same name"):
            read_drills(tmp_path)
