"""Definitions of pipelines: of a course each, and their steps."""

from __future__ import annotations

from typing import Any

import pytest

from harness.program.closure import COURSES_PIPELINE
from harness.program.pipelines import Pipeline, Pipelines, SetPipeline, course_pipelines, resources_of_steps

RESOURCES = [{"name": "repository", "type": "git"}, {"name": "image", "type": "registry-image"}]


def test_definition_has_the_commands_variables() -> None:
    file, tag = str(COURSES_PIPELINE), {"resources": [{"name": "image", "source": {"tag": "((image_name))"}}]}
    commands = [
        SetPipeline(file, "build", "git", {"image_name": 'deep "trees"'}),
        SetPipeline(file, "build", "of no file", {"image_name": "a"}),
        SetPipeline(file, "build", "git", {"another": "b"}),
        SetPipeline("another.py", "build", "git", {"image_name": "c"}),
    ]
    made = Pipelines((Pipeline(file, (), "git", tag),), tuple(commands), ())
    [(command, definition)] = course_pipelines(made)
    assert command is commands[0]
    assert definition["resources"][0]["source"] == {"tag": 'deep "trees"'}


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ([{"get": "repository", "trigger": True}, {"put": "image"}], [(True, "git")]),
        ([{"get": "source", "resource": "repository"}], [(None, "git")]),
        ([{"in_parallel": {"steps": [{"do": [{"get": "repository"}]}]}}], [(None, "git")]),
        ([{"in_parallel": [{"get": "repository", "trigger": True}]}], [(True, "git")]),
        ([{"get": "elsewhere"}], [(None, None)]),
        ([{"task": "build"}], []),
    ],
    ids=["plain", "by-another-name", "deep", "parallel", "no-resource", "none"],
)
def test_steps_are_found_however_deep(
    plan: list[dict[str, Any]], expected: list[tuple[bool | None, str | None]]
) -> None:
    definition = {"resources": RESOURCES, "jobs": [{"name": "build", "plan": plan}]}
    found = [(step.get("trigger"), each.get("type")) for step, each in resources_of_steps(definition, "get")]
    assert found == expected
