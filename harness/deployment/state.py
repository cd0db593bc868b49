"""The state of a kept copy: what it was made of, and so whether it may be used again."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Mapping
from pathlib import Path

from harness import services
from harness.artifacts.model import Artifacts
from harness.base.digest import fingerprint
from harness.charts.chart import Chart, Release
from harness.cluster import kind
from harness.plan.plan import Plan
from harness.services.keycloak import REALMS

NAMED = 4
"""Changed inputs that a line names."""
STATE = "state.json"


class State:
    """A small file about a kept cluster, which a killed run leaves as it was.

    Nothing of it is kept in memory: a write of one key takes nothing back that another part of the run wrote.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def get(self, key: str) -> str | None:
        return self._read().get(key)

    def set(self, key: str, value: str) -> None:
        with self._lock:
            self._write({**self._read(), key: value})

    def forget(self, key: str) -> None:
        with self._lock:
            self._write({name: value for name, value in self._read().items() if name != key})

    def clear(self, *, but: Collection[str] = ()) -> None:
        """Forget everything, but for some keys."""
        with self._lock:
            self._write({name: value for name, value in self._read().items() if name in but})

    def _read(self) -> dict[str, str]:
        known: dict[str, str] = json.loads(self._path.read_text()) if self._path.exists() else {}
        return known

    def _write(self, known: dict[str, str]) -> None:
        scratch = self._path.with_suffix(".new")
        scratch.write_text(json.dumps(known, indent=1))
        scratch.replace(self._path)


def cluster_fingerprint(plan: Plan, made: Artifacts) -> str:
    """Return fingerprints of what a cluster and the services beside it are made of; the rest can change under them."""
    return fingerprints(
        {
            "kind-config.yaml": plan.checkout / "kind-config.yaml",
            "--hub-port": str(plan.hub_port),
            "--authoring-port": str(plan.authoring_port),
            "the node image": made.node_image,
            **{f"the image of {name}": image for name, image in made.services.items()},
            # Under the same names, a node would keep those that it has.
            "an image of the chart": json.dumps(sorted(layout.digest for layout in made.images.values())),
            "--mirror": json.dumps(sorted(plan.mirrors.values())),
            "how the harness makes it": fingerprint(_makers()),
        }
    )


def _makers() -> list[Path]:
    """Return the files of the harness that say how nodes and services start: another version of it may start others.

    An image's name does not tell: what is pulled has the name that it is published under.
    """
    return [Path(kind.__file__), *sorted(Path(services.__file__).parent.glob("*.py")), *sorted(REALMS.glob("*.json"))]


def release_fingerprint(source: Chart, release: Release) -> str:
    """Return fingerprints of all that a release is made of."""
    parts: dict[str, str | Path] = {"the chart": source.path}
    for number, file in enumerate(release.values):
        # Two of them may have one name, and later wins.
        name = f"values {file.name}"
        parts[name if name not in parts else f"{name} ({number + 1})"] = file
    parts |= {f"spawner {file.name}": file for file in release.set_files.values()}
    parts |= {f"value {key}": json.dumps(value) for key, value in release.replaced.items()}
    return fingerprints(parts)


def fingerprints(parts: Mapping[str, str | Path]) -> str:
    """Return a fingerprint of each part by its name, as one text: two are equal where nothing changed."""
    return json.dumps({name: fingerprint([part]) for name, part in parts.items()}, sort_keys=True)


def describe_changes(before: str, now: str) -> str:
    """Name the parts that differ in two texts of `fingerprints`: "values mine.yaml and the chart have changed"."""
    try:
        old, new = json.loads(before), json.loads(now)
    except ValueError:  # written by an older harness
        return "what it is made of has changed"
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    shown = names if len(names) <= NAMED else [*names[:NAMED], f"{len(names) - NAMED} more"]
    return f"{' and '.join(shown)} {'has' if len(names) == 1 else 'have'} changed"
