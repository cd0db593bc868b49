"""Memory as JupyterHub's spawner reads it, and times as Go writes them; Kubernetes' notation is in its own library."""

from __future__ import annotations

import re
from typing import Any

from harness.base.errors import HarnessError

GIB = 2**30
SPAWNER_UNITS = {"K": 2**10, "M": 2**20, "G": GIB, "T": 2**40}
"""In the spawner's settings 2G is 2 GiB, and there is no Gi (jupyterhub/traitlets.py, ByteSpecification)."""


_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def spawner_bytes(setting: object, name: str) -> int:
    """Return the bytes that a memory setting of the spawner gives.

    Args:
        setting: a number of bytes, or a number with K, M, G or T, such as 2G.
        name: the setting's key, for the error.

    Raises:
        HarnessError: JupyterHub would refuse the setting.
    """
    if isinstance(setting, int | float):
        return int(setting)
    found = re.fullmatch(rf"(\d+(?:\.\d+)?)([{''.join(SPAWNER_UNITS)}])", str(setting))
    if not found:
        raise HarnessError(
            f"{name}: expected bytes, or a number with one of {', '.join(SPAWNER_UNITS)}, such as 2G (JupyterHub knows "
            f"no Gi); found {setting!r}"
        )
    return int(float(found[1]) * SPAWNER_UNITS[found[2]])


def duration_seconds(duration: Any) -> float:
    """Return a time as Go writes it, such as 1m2.5s, in seconds; 0 for what is none."""
    parts = re.findall(r"([\d.]+)(h|ms|m|s|us|µs|ns)", str(duration))
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
