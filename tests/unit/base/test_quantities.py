"""Amounts of memory as the spawner reads them."""

from __future__ import annotations

import pytest

from harness.base.errors import HarnessError
from harness.base.quantities import GIB, spawner_bytes


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
