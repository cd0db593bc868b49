"""Artifacts from package registries: the missing ones are made, side by side and each once."""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harness.artifacts.build_cache import BuildCache
from harness.artifacts.model import Artifacts
from harness.artifacts.prune import prune
from harness.artifacts.recipes import recipes
from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.shell import kill_children
from harness.plan.versions import IMAGES, Versions, check_pins

SIDE_BY_SIDE = 2
"""Artifacts made at a time: making one is mostly a single processor's work, or waiting for the network."""

WAIT_FOR_OTHERS = 3600.0
"""Seconds that another run may take to build."""

KEEP = 2
"""Versions of each artifact that stay in the cache: enough for going back and forth between two branches."""

SERVED = {
    "quay.io/jupyterhub/k8s-hub": "hub",
    "quay.io/jupyterhub/configurable-http-proxy": "proxy",
    "registry.k8s.io/kube-scheduler": "kube-scheduler",
    "registry.k8s.io/pause": "pause",
}
"""Images that the chart names, and the artifact that takes the place of each."""


def build(versions: Versions, cache: Path, steps: Steps, cold: Callable[[], None]) -> Artifacts:
    """The artifacts, made from package registries where they are not in the cache yet.

    Args:
        cold: called before anything is made.

    Raises:
        HarnessError: something does not build, or two places pin different versions.
    """
    bench = BuildCache(recipes(versions), IMAGES, cache)
    wanted = {*SERVED.values(), *versions.services(), "node", "notebook", "go-tools", "go-kubernetes"}
    if bench.missing(wanted):
        cold()
        check_pins(versions, IMAGES)
        with alone(cache, steps):
            make(bench, bench.missing(wanted), steps)
            prune(cache, KEEP, in_use=[f"{name}-{key}" for name, key in bench.keys.items()])
    else:
        with steps.step("artifacts") as step:
            step.done("everything cached")
    return Artifacts(
        kind=bench.directory("go-tools") / "kind",
        kubectl=bench.directory("go-kubernetes") / "kubectl",
        helm=bench.directory("go-tools") / "helm",
        node_image=bench.tag("node"),
        services={name: bench.tag(name) for name in versions.services()},
        notebook=bench.tag("notebook"),
        images={repository: bench.layout(name) for repository, name in SERVED.items()},
    )


def helm_path(versions: Versions, cache: Path) -> Path:
    """Where Helm is, once it was built."""
    return BuildCache(recipes(versions), IMAGES, cache).directory("go-tools") / "helm"


def build_helm(versions: Versions, cache: Path, steps: Steps) -> Path:
    """Helm alone, for what needs no cluster and no Docker."""
    bench = BuildCache(recipes(versions), IMAGES, cache)
    if tools := bench.missing({"go-tools"}):
        with alone(cache, steps):
            make(bench, tools, steps)
    return helm_path(versions, cache)


def make(bench: BuildCache, names: Collection[str], steps: Steps) -> None:
    """Make artifacts, each as soon as what it is made from is there.

    The first failure, or Ctrl-C, ends what else is under way.
    """
    waiting = graphlib.TopologicalSorter({name: set(bench.recipes[name].needs) & set(names) for name in names})
    waiting.prepare()
    rank = list(bench.recipes)
    running: dict[Future[None], str] = {}
    ready: list[str] = []
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        try:
            while waiting.is_active():
                ready = sorted([*ready, *waiting.get_ready()], key=rank.index)
                while ready and len(running) < SIDE_BY_SIDE:
                    name = ready.pop(0)
                    running[pool.submit(_make_one, bench, name, steps)] = name
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    waiting.done(running.pop(done))
                    done.result()
        except BaseException:
            # A recipe between two programs starts the second after the first look.
            while wait(running, timeout=0.2).not_done:
                kill_children()
            raise


def _make_one(bench: BuildCache, name: str, steps: Steps) -> None:
    with steps.step(f"build {name}"):
        bench.recipes[name].make(bench)


@contextmanager
def alone(cache: Path, steps: Steps) -> Iterator[None]:
    """Be the only run that builds; another one's builds are waited for, and are then ours too."""
    cache.mkdir(parents=True, exist_ok=True)
    lock = FileLock(cache / "build.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with steps.step("another run's builds"):
            try:
                lock.acquire(timeout=WAIT_FOR_OTHERS)
            except Timeout as error:
                raise HarnessError(
                    f"Another run has been building for {WAIT_FOR_OTHERS:.0f} s: wait for its end, or end it "
                    f"(it holds {cache / 'build.lock'})"
                ) from error
    try:
        yield
    finally:
        lock.release()
