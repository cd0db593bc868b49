"""Values as Helm takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.charts.values import image_keys, merge_values, nested, value_at


def test_files_merge_as_helm_merges_them(tmp_path: Path) -> None:
    files = [tmp_path / "one.yaml", tmp_path / "two.yaml"]
    files[0].write_text("a: {b: 1, c: [1, 2]}\nd: 1")
    files[1].write_text("a: {b: 2, c: [3]}")
    assert merge_values(files) == {"a": {"b": 2, "c": [3]}, "d": 1}


@pytest.mark.parametrize(
    ("key", "found"), [("a.b", 1), ("a", {"b": 1}), ("a.c", "unset"), ("c.d", "unset"), ("n.d", None), ("t.d", "text")]
)
def test_value_at_a_key(key: str, found: object) -> None:
    """A null, or a text where a mapping belongs, is a value: the chart's default does not count there."""
    assert value_at({"a": {"b": 1}, "n": None, "t": "text"}, key, "unset") == found


def test_nested() -> None:
    assert nested({"a.b": 1, "a.c.d": 2, "e": 3}) == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}


def test_keys_of_an_image() -> None:
    values = {
        "hub": {"image": {"name": "quay.io/hub", "tag": 1}, "extraContainers": [{"image": "sidecar:2"}]},
        "prePuller": {"extraImages": {"one": {"name": "sidecar", "tag": "2"}}},
    }
    assert [*image_keys(values, "quay.io/hub:1")] == ["hub.image"]
    assert [*image_keys(values, "sidecar:2")] == ["hub.extraContainers[0].image", "prePuller.extraImages.one"]
    assert not [*image_keys(values, "nginx:1")]
