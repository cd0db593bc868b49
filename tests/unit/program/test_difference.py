"""Differences of two evaluations: what a person reads of a change."""

from __future__ import annotations

import pytest

from harness.program.difference import LISTED, Difference, Preview, compare, flat


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ({"cull": {"timeout": 900}}, {"cull": {"timeout": 3600}}, "hub cull.timeout: 900 → 3600"),
        ({"hosts": ["b"]}, {"hosts": ["a", "b"]}, "hub hosts[a]: absent → a"),
        ({"hosts": ["a", "b"]}, {"hosts": ["b"]}, "hub hosts[a]: a → absent"),
        ({"env": [{"name": "A", "value": 1}]}, {"env": [{"name": "A", "value": 2}]}, "hub env[A].value: 1 → 2"),
        ({"text": "a\nb\n"}, {"text": "a\nc\n"}, "hub text: 1 lines removed, 1 added: -b +c"),
        ({"hosts": ["a", "b", "c"]}, {"hosts": ["c", "a", "b"]}, "hub hosts (order): a, b, c → c, a, b"),
        ({"limit": None}, {"limit": 1}, "hub limit: null → 1"),
        ({}, {"limit": None}, "hub limit: absent → null"),
        ({"limit": None}, {"limit": "null"}, 'hub limit: null → "null"'),
        ({"port": 80}, {"port": "80"}, 'hub port: 80 → "80"'),
        ({"a": ""}, {}, 'hub a: "" → absent'),
        ({"a.b": 1, "c": 0}, {"a": {"b": 1}, "c": 0}, 'hub "a.b": 1 → absent'),
        ({"text": "a  b"}, {"text": "a b"}, 'hub text: "a  b" → "a b"'),
        ({"key": "x" * 90 + "y"}, {"key": "x" * 90 + "z"}, f"hub key: …{'x' * 20}y → …{'x' * 20}z"),
        ({"x": 1}, {"x": 1, "images": {"a": {"name": "x", "tag": "y"}}}, "hub images.a: absent → 2 values"),
    ],
)
def test_a_change_is_one_line(before: object, after: object, line: str) -> None:
    found = compare({"values": {"hub": before}}, {"values": {"hub": after}})
    assert line in [str(each) for each in found]
    # What only moved to another key went and came.
    assert len(found) == (2 if "a.b" in line else 1)


def test_the_same_is_no_difference() -> None:
    tree = {"values": {"hub": {"a": [1, {"b": None}]}}}
    assert compare(tree, tree) == []


def test_one_more_entry_changes_no_order() -> None:
    [found] = compare({"values": {"hub": {"hosts": ["b", "c"]}}}, {"values": {"hub": {"hosts": ["a", "b", "c"]}}})
    assert str(found) == "hub hosts[a]: absent → a"


def test_a_long_text_has_its_changed_lines() -> None:
    text = "".join(f"line {number}\n" for number in range(30))
    found = Difference("values", "hub text", text, text.replace("line 20", "line twenty"))
    assert found.diff.splitlines()[2:] == [
        "@@ -19,5 +19,5 @@",
        *(" line 18", " line 19", "-line 20", "+line twenty", " line 21", " line 22"),
    ]
    assert not Difference("values", "hub text", "1", "2").diff


def test_terminal_shows_some_and_the_report_all() -> None:
    many = tuple(Difference("values", f"hub a{number}", "1", "2") for number in range(LISTED + 2))
    lines = list(Preview("1234 of today", many, ("a note",)).lines())
    assert lines[0] == "changed since 1234 of today: 42 values"
    assert lines[-2:] == ["  values:          2 more, in report.html", "  a note"]


def test_stacks_are_named() -> None:
    assert str(Difference("values", "hub a", "1", "2", ("CI", "QA"))) == "hub a: 1 → 2 (CI, QA)"


def test_leaves_have_the_path_to_them() -> None:
    assert dict(flat({"hub": {"a": {"b": 1}, "c": []}})) == {"hub a.b": "1", "hub c": "[]"}
