"""Memory as the spawner reads it, and times as Go writes them."""

from __future__ import annotations

import pytest

from harness.base.errors import HarnessError
from harness.base.quantities import GIB, duration_seconds, spawner_bytes


@pytest.mark.parametrize(
    ("setting", "number"),
    [("2G", 2 * GIB), ("1.5G", 1.5 * GIB), ("512M", GIB / 2), ("8K", 8192), ("1T", 1024 * GIB), (GIB, GIB), (0, 0)],
)
def test_bytes(setting: object, number: float) -> None:
    assert spawner_bytes(setting, "memory") == number


@pytest.mark.parametrize("setting", ["2Gi", "2 GB", "2g", "G", "", "1024", None])
def test_what_jupyterhub_would_refuse_is_named(setting: object) -> None:
    with pytest.raises(HarnessError) as error:
        spawner_bytes(setting, "singleuser.memory.limit")
    assert str(error.value).startswith("singleuser.memory.limit: expected bytes, or a number with one of K, M, G, T")
    assert str(error.value).endswith(f"found {setting!r}")


@pytest.mark.parametrize(
    ("duration", "expected"), [("60s", 60), ("1m30s", 90), ("1.5h", 5400), ("250ms", 0.25), ("0s", 0), (None, 0)]
)
def test_seconds_of_a_duration(duration: str | None, expected: float) -> None:
    assert duration_seconds(duration) == pytest.approx(expected)
