"""Artifacts built from package registries: the missing ones, side by side and each once."""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harness.artifacts.build_cache import BuildCache, Recipe
from harness.artifacts.forecast import Durations, Forecast
from harness.artifacts.model import Artifacts
from harness.artifacts.oci import OciImage
from harness.artifacts.prune import prune
from harness.artifacts.recipes import recipes
from harness.base.errors import EnvironmentFault, HarnessError
from harness.base.progress import Steps
from harness.base.shell import kill_children
from harness.plan.versions import IMAGES, Versions, check_pins

SIDE_BY_SIDE = 2
"""Artifacts made at a time: each mostly keeps one processor busy, or waits for the network."""

WAIT_FOR_OTHERS = 3600.0
"""Seconds that another run may take to build."""

KEEP = 2
"""Versions of each artifact that stay in the cache: enough to switch between two branches."""

SERVED = {
    "quay.io/jupyterhub/k8s-hub": "hub",
    "quay.io/jupyterhub/configurable-http-proxy": "proxy",
    "registry.k8s.io/kube-scheduler": "kube-scheduler",
    "registry.k8s.io/pause": "pause",
}
"""The artifact that replaces each image that every chart runs."""

SERVED_IF_NAMED = {"quay.io/jupyterhub/k8s-network-tools": "network-tools"}
"""The artifact that replaces each image that only some values have the chart run."""


def build(
    versions: Versions,
    services: Collection[str],
    cache: Path,
    steps: Steps,
    cold: Callable[[], None],
    *,
    addons: Collection[str] = (),
) -> Artifacts:
    """Build the artifacts that the cache lacks, and return all of them.

    Args:
        services: names of the services whose images are among them.
        cold: called before anything is built.
        addons: names of add-ons, which are built beside the others; one that does not build is left out.

    Raises:
        HarnessError: an artifact does not build, or two files pin different versions.
    """
    build_cache = BuildCache(recipes(versions), IMAGES, cache)
    wanted = {*SERVED.values(), *services, "node", "node-store", "notebook", "go-tools", "go-cluster"}
    if build_cache.missing(wanted):
        cold()
        check_pins(versions, IMAGES)
        with alone(cache, steps):
            names = build_cache.missing(wanted)
            optional = [name for name in build_cache.missing(addons) if name not in names]
            make(build_cache, [*names, *optional], steps, optional)
            prune(cache, KEEP, in_use=[f"{name}-{key}" for name, key in build_cache.keys.items()])
    else:
        with steps.step("artifacts") as step:
            step.done("everything cached")
    return Artifacts(
        kind=build_cache.directory("go-tools") / "kind",
        kubectl=build_cache.directory("go-cluster") / "kubectl",
        helm=build_cache.directory("go-tools") / "helm",
        node_image=build_cache.tag("node"),
        services={name: build_cache.tag(name) for name in services},
        notebook=build_cache.tag("notebook"),
        images={repository: build_cache.layout(name) for repository, name in SERVED.items()},
        node_store=build_cache.volume("node-store"),
    )


def build_service(name: str, versions: Versions, cache: Path, steps: Steps) -> str:
    """Build the image of one service, unless Docker has it, and return its name."""
    build_cache = BuildCache(recipes(versions), IMAGES, cache)
    if build_cache.missing({name}):
        with alone(cache, steps):
            make(build_cache, build_cache.missing({name}), steps, beside_tests=True)
    return build_cache.tag(name)


def built_service(name: str, versions: Versions, cache: Path) -> str | None:
    """Return the name in Docker of one service's image; None where it is still to be built."""
    build_cache = BuildCache(recipes(versions), IMAGES, cache)
    return None if build_cache.missing({name}) else build_cache.tag(name)


def build_addons(names: Collection[str], versions: Versions, cache: Path, steps: Steps) -> dict[str, OciImage]:
    """Build the images of add-ons that the cache lacks, and return all of them by their published names.

    Raises:
        HarnessError: one does not build, or two files pin different versions.
    """
    published = {name: image.published for name, image in versions.addons().items() if name in names}
    return {published[name]: image for name, image in _build_layouts(published, versions, cache, steps).items()}


def build_named(repositories: Collection[str], versions: Versions, cache: Path, steps: Steps) -> dict[str, OciImage]:
    """Build those of some images that only some values have a chart run, and return them by repository.

    Raises:
        HarnessError: one does not build, or two files pin different versions.
    """
    known = {SERVED_IF_NAMED[repository]: repository for repository in repositories if repository in SERVED_IF_NAMED}
    return {known[name]: image for name, image in _build_layouts(known, versions, cache, steps).items()}


def _build_layouts(names: Collection[str], versions: Versions, cache: Path, steps: Steps) -> dict[str, OciImage]:
    """Build images that are kept as layouts, unless the cache has them, and return them by the artifact's name."""
    build_cache = BuildCache(recipes(versions), IMAGES, cache)
    if build_cache.missing(names):
        check_pins(versions, IMAGES)
        with alone(cache, steps):
            make(build_cache, build_cache.missing(names), steps, beside_tests=True)
    return {name: build_cache.layout(name) for name in names}


def helm_path(versions: Versions, cache: Path) -> Path:
    """Return the place of Helm in the cache, which may lack it."""
    return BuildCache(recipes(versions), IMAGES, cache).directory("go-tools") / "helm"


def build_helm(versions: Versions, cache: Path, steps: Steps) -> Path:
    """Build Helm alone, which needs no cluster and no Docker."""
    build_cache = BuildCache(recipes(versions), IMAGES, cache)
    if tools := build_cache.missing({"go-tools"}):
        with alone(cache, steps):
            make(build_cache, tools, steps)
    return helm_path(versions, cache)


def make(
    build_cache: BuildCache,
    names: Collection[str],
    steps: Steps,
    optional: Collection[str] = (),
    *,
    beside_tests: bool = False,
) -> None:
    """Make artifacts, each as soon as those that it is made from are there.

    The first failure, or Ctrl-C, ends the others.

    Args:
        optional: those whose failure ends nothing; what is made from one that failed is left out.
        beside_tests: tests may be running, whose programs a failure leaves alone: it waits for the others.
    """
    recipes = build_cache.recipes
    waiting = graphlib.TopologicalSorter({name: set(recipes[name].needs) & set(names) for name in names})
    waiting.prepare()
    rank = list(recipes)
    running: dict[Future[None], str] = {}
    ready: list[str] = []
    failed: set[str] = set()
    forecast = Forecast(sorted(names, key=rank.index), Durations(build_cache.cache), at_a_time=SIDE_BY_SIDE)
    with steps.outlook(forecast.line), ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        try:
            while waiting.is_active():
                ready = sorted([*ready, *waiting.get_ready()], key=rank.index)
                while len(running) < SIDE_BY_SIDE and (name := _next(ready, running.values(), recipes)):
                    ready.remove(name)
                    if failed.intersection(recipes[name].needs):
                        failed.add(name)
                        waiting.done(name)
                    else:
                        running[pool.submit(_make_one, build_cache, name, steps, forecast)] = name
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(done)
                    waiting.done(name)
                    try:
                        done.result()
                    except EnvironmentFault:
                        raise
                    except HarnessError:
                        if name not in optional:
                            raise
                        failed.add(name)
        except BaseException as error:
            if beside_tests and isinstance(error, HarnessError):
                raise
            # A recipe may start another program after the first round.
            while wait(running, timeout=0.2).not_done:
                kill_children()
            raise


def _next(ready: Sequence[str], running: Collection[str], recipes: Mapping[str, Recipe]) -> str | None:
    """Return the first artifact that can be made beside those under way; None where there is none.

    Go compiles on all processors, and what two modules share only once where one comes after the other.
    """
    taken = any(recipes[name].ON_ALL_PROCESSORS for name in running)
    return next((name for name in ready if not (taken and recipes[name].ON_ALL_PROCESSORS)), None)


def _make_one(build_cache: BuildCache, name: str, steps: Steps, forecast: Forecast) -> None:
    with steps.step(f"build {name}"), forecast.timed(name):
        build_cache.recipes[name].make(build_cache)


@contextmanager
def alone(cache: Path, steps: Steps) -> Iterator[None]:
    """Build alone: wait until another run has built, whose artifacts are then used."""
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
