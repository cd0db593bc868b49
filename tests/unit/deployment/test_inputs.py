"""Where two states of a deployment differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.deployment.inputs import (
    ELSEWHERE,
    INPUTS,
    NO_PYTHON,
    Inputs,
    changed_places,
    changed_statements,
    kept_inputs,
    read_inputs,
)
from harness.plan.plan import Plan

SPAWNER = '''
import os


class Spawner(KubeSpawner):
    """A spawner."""

    def start(self):
        self.image = "a"
        if self.handler:
            self.follow()
        return super().start()


c.Authenticator.allow_all = True
'''


def inputs(
    values: dict[str, Any], courses: dict[str, dict[str, str]] | None = None, gate: dict[str, Any] | None = None
) -> Inputs:
    return Inputs({"students": values, "authors": {}}, gate or {}, SPAWNER, courses or {}, "1")


class TestPlaces:
    @pytest.mark.parametrize(
        ("before", "after", "place"),
        [
            ({"cull": {"timeout": 1, "every": 2}}, {"cull": {"timeout": 3, "every": 2}}, "cull.timeout"),
            ({"hub": {}}, {"hub": {"config": {"Spawner": {"start_timeout": 9}}}}, "hub.config"),
            ({"cull": {"timeout": 1}}, {}, "cull"),
            ({"tolerations": [1, 2]}, {"tolerations": [1]}, "tolerations"),
            ({"images": {"course-6.1": "a"}}, {"images": {"course-6.1": "b"}}, r"images.course-6\.1"),
            ({"events": None}, {"events": False}, "events"),
        ],
    )
    def test_a_value_is_its_key(self, before: dict[str, Any], after: dict[str, Any], place: str) -> None:
        assert changed_places(inputs(before), inputs(after)) == {f"students: {place}"}

    def test_the_same_has_none(self) -> None:
        assert not changed_places(inputs({"a": 1}), inputs({"a": 1}))

    def test_a_file_of_a_course_is_its_kind(self) -> None:
        before = inputs({}, {"c": {"Dockerfile": "1", "data/a.csv": "1", "x.ipynb": "1"}})
        after = inputs({}, {"c": {"Dockerfile": "2", "x.ipynb": "1"}})
        assert changed_places(before, after) == {"course c: Dockerfile", "course c: .csv"}

    def test_a_value_of_the_gate_is_its_key_whichever_hub_it_leads_to(self) -> None:
        routes = [{"a": {"plugins": {"p": number}}, "b": {"plugins": {}}} for number in (1, 2)]
        before, after = (inputs({}, gate=each) for each in routes)
        assert changed_places(before, after) == {"gate: plugins.p"}

    def test_anything_else_is_elsewhere(self) -> None:
        assert changed_places(inputs({}), dataclasses.replace(inputs({}), rest="2")) == {ELSEWHERE}


class TestStatements:
    @pytest.mark.parametrize(
        ("old", "new", "places"),
        [
            ('self.image = "a"', 'self.image = "b"', {"self.image"}),
            ("allow_all = True", "allow_all = False", {"c.Authenticator.allow_all"}),
            ("if self.handler:", "if not self.handler:", {"start()"}),
            ("self.follow()", "self.lead()", {"start()"}),
            ("import os", "import os, sys", {"import os", "import os, sys"}),
            ('"""A spawner."""', '"""Another."""', set()),
            ('self.image = "a"', 'self.image = "a"  # a comment', set()),
            ("allow_all = True", "allow_all = True\nc.Spawner.mem_limit = 1", {"c.Spawner.mem_limit"}),
        ],
    )
    def test_a_statement_is_what_it_sets_or_its_function(self, old: str, new: str, places: set[str]) -> None:
        assert old in SPAWNER
        found = changed_statements(SPAWNER, SPAWNER.replace(old, new))
        assert found == {f"spawner: {place}" for place in places}


class TestKept:
    def test_what_is_kept_equals_what_was_read(self, planned: Callable[..., Plan]) -> None:
        plan = planned()
        now = read_inputs(plan)
        now.write(plan.state)
        kept = kept_inputs(plan.state)
        assert kept is not None
        assert not changed_places(kept, read_inputs(plan))
        assert "supervised_learning_fundamentals" in kept.courses

    @pytest.mark.parametrize("content", [None, "", '{"values": 1}'])
    def test_without_one_that_can_be_read_there_is_none(self, tmp_path: Path, content: str | None) -> None:
        if content is not None:
            (tmp_path / INPUTS).write_text(content)
        assert kept_inputs(tmp_path) is None


def test_a_spawner_that_is_no_python_is_a_change_of_its_own() -> None:
    assert changed_statements("a = 1", "if a:\n") == {NO_PYTHON}
    assert changed_statements("if a:\n", "if a:\n") == set()
