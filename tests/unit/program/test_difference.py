"""Differences of two evaluations: what a person reads of a change."""

from __future__ import annotations

import pytest

from harness.program.difference import Difference, compare, flat


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"cull": {"timeout": 900}}, {"cull": {"timeout": 3600}}, "hub cull.timeout: 900 → 3600"),
        ({"hosts": ["b"]}, {"hosts": ["a", "b"]}, "hub hosts[a]: absent → a"),
        ({"hosts": ["a", "b"]}, {"hosts": ["b"]}, "hub hosts[a]: a → absent"),
        ({"env": [{"name": "A", "value": 1}]}, {"env": [{"name": "A", "value": 2}]}, "hub env[A].value: 1 → 2"),
        ({"text": "a\nb\n"}, {"text": "a\nc\n"}, "hub text: 1 lines removed, 1 added: -b +c"),
        ({"x": 1}, {"x": 1, "images": {"a": {"name": "x", "tag": "y"}}}, "hub images.a: absent → 2 values"),
    ],
)
def test_a_change_is_one_line(before: object, after: object, said: str) -> None:
    [found] = compare({"values": {"hub": before}}, {"values": {"hub": after}})
    assert str(found) == said


def test_the_same_is_no_difference() -> None:
    tree = {"values": {"hub": {"a": [1, {"b": None}]}}}
    assert compare(tree, tree) == []


def test_stacks_are_named() -> None:
    assert str(Difference("values", "hub a", "1", "2", ("CI", "QA"))) == "hub a: 1 → 2 (CI, QA)"


def test_leaves_have_the_path_to_them() -> None:
    assert dict(flat({"hub": {"a": {"b": 1}, "c": []}})) == {"hub a.b": "1", "hub c": "[]"}
