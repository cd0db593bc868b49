"""What is built again and what is not, and what a person reads when something cannot be had."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from harness.artifacts import build, pull
from harness.artifacts import resolve as artifacts
from harness.artifacts.build import SERVED, SERVED_IF_NAMED, alone, build_helm, helm_path, make
from harness.artifacts.build_cache import BuildCache, Kept, Recipe
from harness.artifacts.dockerfile import NAMESPACE, build_image, explain, on_base
from harness.artifacts.forecast import Durations
from harness.artifacts.host_settings import pip_configuration
from harness.artifacts.oci import OciStore, merge
from harness.artifacts.prune import ABANDONED, prune
from harness.artifacts.recipes import CLUSTER, REPORTED_VERSION, TOOLS, GoPrograms, Image, NodeStore, recipes
from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.shell import CommandError, run
from harness.plan.versions import IMAGES, check_pins, read_versions


@dataclass(frozen=True)
class Note(Recipe):
    """An artifact that is a file which says so."""

    made_from: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        return self.made_from

    def make(self, build_cache: BuildCache) -> None:
        with build_cache.new_directory(self.name) as directory:
            (directory / "note").write_text(self.name)


def note(name: str, *made_from: str) -> Note:
    return Note(name, name, Kept.AS_FILES, made_from)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Folders of a base, of two images on it and of one on nothing."""
    folder = tmp_path / "images"
    for name in ("base", "hub", "notebook", "registry"):
        (folder / name).mkdir(parents=True)
        (folder / name / "Dockerfile").write_text(f"# {name}\n")
    return folder


@pytest.fixture
def bench(images: Path, tmp_path: Path) -> Callable[..., BuildCache]:
    """Makes a cache of builds as a new run does."""

    def new(*others: Recipe, cache: Path = tmp_path / "cache", of: Path = images) -> BuildCache:
        usual = [note("base"), note("hub", "base"), note("notebook", "base"), note("registry")]
        return BuildCache(others or usual, of, cache)

    return new


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a script in docker's place; returns the file that notes the arguments of each call."""

    def install(script: str) -> Path:
        directory, calls = tmp_path / "bin", tmp_path / "calls"
        directory.mkdir(exist_ok=True)
        program = directory / "docker"
        program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
        return calls

    return install


@pytest.fixture
def steps() -> Steps:
    return Steps(Console(file=io.StringIO()))


def changed(before: BuildCache, after: BuildCache) -> set[str]:
    return {name for name in before.keys if before.keys[name] != after.keys[name]}


class TestKeys:
    def test_a_changed_dockerfile_changes_its_image_alone(self, images: Path, bench: Callable[..., BuildCache]) -> None:
        before = bench()
        assert before.keys
        (images / "hub/Dockerfile").write_text("# another\n")
        assert changed(before, bench()) == {"hub"}

    def test_a_changed_base_changes_what_is_built_on_it(self, images: Path, bench: Callable[..., BuildCache]) -> None:
        before = bench()
        assert before.keys
        (images / "base/Dockerfile").write_text("# another\n")
        assert changed(before, bench()) == {"base", "hub", "notebook"}

    @pytest.mark.parametrize("change", ["rename", "chmod", "add"])
    def test_names_and_modes_count(self, change: str, images: Path, bench: Callable[..., BuildCache]) -> None:
        before = bench()
        assert before.keys
        file = images / "hub/Dockerfile"
        if change == "rename":
            file.rename(images / "hub/Dockerfile.old")
        elif change == "chmod":
            file.chmod(0o755)
        else:
            (images / "hub/constraints.txt").write_text("")
        assert changed(before, bench()) == {"hub"}

    def test_times_and_the_path_do_not_count(
        self, images: Path, bench: Callable[..., BuildCache], tmp_path: Path
    ) -> None:
        elsewhere = tmp_path / "another checkout"
        shutil.copytree(images, elsewhere)
        for file in elsewhere.rglob("*"):
            os.utime(file, (0, 0))
        assert bench(of=elsewhere).keys == bench().keys

    def test_a_version_counts(self, bench: Callable[..., BuildCache]) -> None:
        hub = Image("hub", "hub", Kept.AS_LAYOUT, base="base", arguments={"PACKAGES": "jupyterhub==5.5.0"})
        newer = replace(hub, arguments={"PACKAGES": "jupyterhub==5.5.1"})
        assert changed(bench(note("base"), hub), bench(note("base"), newer)) == {"hub"}


class TestMissing:
    def test_nothing_is_made_twice(
        self, bench: Callable[..., BuildCache], docker: Callable[[str], Path], steps: Steps
    ) -> None:
        docker("")
        assert bench().missing(["hub"]) == ["base", "hub"]
        make(bench(), bench().missing(["hub"]), steps)
        assert bench().missing(["hub"]) == []
        assert bench().missing(["hub", "notebook"]) == ["notebook"]

    def test_an_image_that_docker_lost_is_made_again(
        self, bench: Callable[..., BuildCache], docker: Callable[[str], Path]
    ) -> None:
        made = bench(*(replace(note(name), kept=Kept.IN_DOCKER) for name in ("hub", "registry")))
        docker(f"echo {made.tag('hub')}; echo {made.tag('registry')}")
        assert made.missing(["hub", "registry"]) == []
        docker(f"echo {made.tag('registry')}")
        assert made.missing(["hub", "registry"]) == ["hub"]

    def test_docker_is_asked_once(self, bench: Callable[..., BuildCache], docker: Callable[[str], Path]) -> None:
        calls = docker("")
        in_docker = bench(*(replace(note(name), kept=Kept.IN_DOCKER) for name in ("hub", "notebook", "registry")))
        assert len(in_docker.missing(["hub", "notebook", "registry"])) == 3
        assert len(calls.read_text().splitlines()) == 1

    def test_a_failed_one_leaves_nothing(
        self, bench: Callable[..., BuildCache], docker: Callable[[str], Path], steps: Steps, tmp_path: Path
    ) -> None:
        docker("")

        @dataclass(frozen=True)
        class Broken(Note):
            def make(self, build_cache: BuildCache) -> None:
                with build_cache.new_directory(self.name) as directory:
                    (directory / "half").write_text("half")
                    raise HarnessError("the disk is full")

        made = bench(note("base"), Broken("hub", "hub", Kept.AS_FILES, ("base",)), note("notebook", "hub"))
        with pytest.raises(HarnessError, match="the disk is full"):
            make(made, made.missing(["notebook"]), steps)
        assert made.missing(["notebook"]) == ["hub", "notebook"]
        assert {path.name for path in (tmp_path / "cache").iterdir()} == {"files", "seconds.json"}
        assert Durations(tmp_path / "cache").last("hub") is None

    def test_two_runs_may_make_the_same(self, bench: Callable[..., BuildCache]) -> None:
        made = bench(note("base"))
        with made.new_directory("base") as late:
            (late / "it").write_text("ours")
            with made.new_directory("base") as quick:
                (quick / "it").write_text("theirs")
        assert (made.directory("base") / "it").read_text() == "theirs"

    def test_what_does_not_wait_for_each_other_is_made_at_the_same_time(
        self, bench: Callable[..., BuildCache], docker: Callable[[str], Path], steps: Steps
    ) -> None:
        docker("")
        meeting = threading.Barrier(2, timeout=10)

        @dataclass(frozen=True)
        class Meeting(Note):
            def make(self, build_cache: BuildCache) -> None:
                meeting.wait()
                super().make(build_cache)

        made = bench(Meeting("hub", "hub", Kept.AS_FILES), Meeting("registry", "registry", Kept.AS_FILES))
        make(made, ["hub", "registry"], steps)
        assert made.missing(["hub", "registry"]) == []

    @pytest.mark.parametrize(
        ("error", "beside_tests", "ended"),
        [(HarnessError, False, True), (HarnessError, True, False), (KeyboardInterrupt, True, True)],
    )
    def test_a_failure_beside_tests_leaves_their_programs_alone(
        self,
        bench: Callable[..., BuildCache],
        docker: Callable[[str], Path],
        steps: Steps,
        error: type[BaseException],
        beside_tests: bool,
        ended: bool,
    ) -> None:
        """Such as a browser; beside nothing else, and on Ctrl-C, it ends what another artifact is made by."""
        docker("")
        failed = threading.Event()

        @dataclass(frozen=True)
        class Broken(Note):
            def make(self, build_cache: BuildCache) -> None:
                failed.set()
                raise error("it does not build")

        @dataclass(frozen=True)
        class Slow(Note):
            def make(self, build_cache: BuildCache) -> None:
                failed.wait(10)
                run(["sleep", "1"], timeout=10)
                super().make(build_cache)

        made = bench(Broken("hub", "hub", Kept.AS_FILES), Slow("registry", "registry", Kept.AS_FILES))
        with pytest.raises(error, match="it does not build"):
            make(made, ["hub", "registry"], steps, beside_tests=beside_tests)
        assert made.missing(["registry"]) == (["registry"] if ended else [])

    @pytest.mark.parametrize("what", ["service", "addons"])
    def test_what_tests_may_wait_for_is_made_beside_them(
        self, docker: Callable[[str], Path], steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
    ) -> None:
        docker("")
        asked: list[dict[str, bool]] = []
        monkeypatch.setattr(build, "make", lambda *_, **how: asked.append(how))
        versions = read_versions()
        if what == "service":
            build.build_service("postgres", versions, tmp_path / "cache", steps)
        else:
            build.build_addons(versions.addons(), versions, tmp_path / "cache", steps)
        assert asked == [{"beside_tests": True}]

    def test_an_optional_one_that_fails_ends_nothing(
        self, bench: Callable[..., BuildCache], docker: Callable[[str], Path], steps: Steps
    ) -> None:
        docker("")

        @dataclass(frozen=True)
        class Broken(Note):
            def make(self, build_cache: BuildCache) -> None:
                raise HarnessError("no such package")

        names = ["base", "hub", "notebook", "registry"]
        made = bench(
            note("base"), Broken("hub", "hub", Kept.AS_FILES), note("notebook", "hub"), note("registry", "base")
        )
        make(made, names, steps, optional=["hub", "notebook"])
        assert made.missing(names) == ["hub", "notebook"]
        with pytest.raises(HarnessError, match="no such package"):
            make(made, ["hub"], steps)

    def test_go_compiles_one_module_at_a_time(
        self, bench: Callable[..., BuildCache], docker: Callable[[str], Path], steps: Steps
    ) -> None:
        docker("")
        going: list[str] = []

        @dataclass(frozen=True)
        class Compiling(Note):
            ON_ALL_PROCESSORS = True

            def make(self, build_cache: BuildCache) -> None:
                going.append(self.name)
                assert len(going) == 1
                super().make(build_cache)
                going.remove(self.name)

        made = bench(*(Compiling(name, name, Kept.AS_FILES) for name in ("hub", "registry", "notebook")))
        make(made, ["hub", "registry", "notebook"], steps)
        assert made.missing(["hub", "registry", "notebook"]) == []

    def test_helm_that_is_there_is_not_made(
        self, docker: Callable[[str], Path], steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[list[str]] = []
        monkeypatch.setattr("harness.artifacts.build.make", lambda bench, names, steps: made.append(names))
        calls = docker("exit 1")
        helm = helm_path(read_versions(), tmp_path / "cache")
        for _ in range(2):
            assert build_helm(read_versions(), tmp_path / "cache", steps) == helm
            helm.parent.mkdir(parents=True, exist_ok=True)
        assert made == [["go-tools"]]
        assert not calls.exists()

    def test_two_runs_do_not_build_at_once(self, tmp_path: Path) -> None:
        output, order = io.StringIO(), []
        waits = Steps(Console(file=output))

        def second() -> None:
            with alone(tmp_path, waits):
                order.append("second")

        with alone(tmp_path, waits):
            thread = threading.Thread(target=second)
            thread.start()
            thread.join(0.2)
            order.append("first")
        thread.join(10)
        assert order == ["first", "second"]
        assert "another run's builds" in output.getvalue()


class TestAddons:
    """The images of the cluster's add-ons, which only a run that asks for them makes."""

    def test_nodes_pull_them_from_the_registry(self) -> None:
        made = {recipe.name: recipe for recipe in recipes(read_versions())}
        assert {made[name].kept for name in read_versions().addons()} == {Kept.AS_LAYOUT}

    def test_a_compiled_one_reports_the_version_that_its_name_has(self) -> None:
        [compiled] = [recipe for recipe in recipes(read_versions()) if recipe.name == "go-kube-state-metrics"]
        assert isinstance(compiled, GoPrograms)
        assert compiled.variables == {REPORTED_VERSION: read_versions().get("go", "k8s.io/kube-state-metrics/v2")}

    def test_those_that_are_there_are_not_built(
        self, tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(BuildCache, "missing", lambda self, wanted: [])
        found = artifacts.get_addons("build", read_versions().addons(), tmp_path, steps)
        assert set(found) == {image.published for image in read_versions().addons().values()}
        assert all(image.path.is_relative_to(tmp_path / "layouts") for image in found.values())

    def test_only_those_that_are_asked_for_are_built(
        self, tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Collection[str]] = []

        def missing(self: BuildCache, wanted: Collection[str]) -> list[str]:
            asked.append(wanted)
            return []

        monkeypatch.setattr(BuildCache, "missing", missing)
        [found] = artifacts.get_addons("build", {"prometheus"}, tmp_path, steps)
        assert found == read_versions().addons()["prometheus"].published
        assert [*map(set, asked)] == [{"prometheus"}]

    def test_an_image_that_only_some_values_name_is_built_for_those(
        self, tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(BuildCache, "missing", lambda self, wanted: [])
        [(name, repository)] = [(name, repository) for repository, name in SERVED_IF_NAMED.items()]
        found = artifacts.get_named({repository, "docker.io/nginx"}, tmp_path, steps)
        assert [*found] == [repository]
        assert found[repository].path.name.startswith(f"{name}-")
        assert artifacts.get_named({"docker.io/nginx"}, tmp_path, steps) == {}

    def test_published_ones_are_pulled_by_the_nodes(self, tmp_path: Path, steps: Steps) -> None:
        assert artifacts.get_addons("pull", read_versions().addons(), tmp_path, steps) == {}

    def test_a_run_that_does_not_ask_makes_none(self) -> None:
        build_cache = BuildCache(recipes(read_versions()), IMAGES, Path("nowhere"))
        wanted = {*SERVED.values(), *read_versions().services(), "node", "notebook", "go-tools", "go-kubernetes"}
        needed = set(wanted)
        for name in reversed(build_cache.in_order):
            if name in needed:
                needed |= set(build_cache.recipes[name].needs)
        unasked = {"go-kube-state-metrics", "go-kube-network-policies", *SERVED_IF_NAMED.values()}
        assert needed.isdisjoint({*read_versions().addons(), *unasked})


class TestVersions:
    def test_every_version_that_a_recipe_uses_is_there_and_agrees(self) -> None:
        versions = read_versions()
        check_pins(versions, IMAGES)
        known = {recipe.name for recipe in recipes(versions)}
        for recipe in recipes(versions):
            assert (IMAGES / recipe.folder).is_dir(), recipe
            assert set(recipe.needs) <= known, recipe
        published = [image.published for image in versions.services().values()]
        for image in (*versions.table("published.images").values(), *published):
            assert image.partition("@")[0].count(":") == 1
        for name in pull.TOOLS:
            assert set(versions.table(f"published.tools.{name}")) == {"version", "url", "checksum"}

    def test_a_dockerfile_declares_what_it_is_told(self) -> None:
        for recipe in recipes(read_versions()):
            if isinstance(recipe, Image):
                declared = {
                    line.split()[1]
                    for line in (IMAGES / recipe.folder / "Dockerfile").read_text().splitlines()
                    if line.startswith("ARG ")
                }
                assert declared == {*recipe.arguments, *(["BASE"] if recipe.base else [])}, recipe.name

    def test_a_file_that_is_not_toml(self, tmp_path: Path) -> None:
        file = tmp_path / "versions.toml"
        file.write_text('[chart]\nversion = "4.4.1\n')
        with pytest.raises(HarnessError, match=r"versions.toml is not TOML: .*line 2"):
            read_versions(file)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(HarnessError, match="cannot be read: No such file"):
            read_versions(tmp_path / "versions.toml")

    def test_what_a_file_lacks_is_named(self, tmp_path: Path) -> None:
        file = tmp_path / "versions.toml"
        file.write_text("[chart]\nversion = 4\n")
        with pytest.raises(HarnessError, match=r"there is no table \[go\]"):
            recipes(read_versions(file))
        with pytest.raises(HarnessError, match=r"\[chart\] version: expected a text, found 4"):
            read_versions(file).get("chart", "version")

    def test_kubectl_is_of_the_clusters_version(self) -> None:
        versions = read_versions()
        node = versions.get("published.images", "node")
        assert node.endswith(f":v{versions.get('published.tools.kubectl', 'version')}")

    def test_what_kubernetes_words_stand_for_is_pinned_by_digest(self) -> None:
        versions = read_versions()
        for version in versions.table("published.kubernetes").values():
            assert versions.with_kubernetes(version).node_image().rpartition("@")[2].startswith("sha256:"), version
        assert "@sha256:" in versions.node_image()

    def test_another_kubernetes(self) -> None:
        versions = read_versions()
        other = versions.with_kubernetes("1.99.1")
        assert other.get("published.images", "node") == "docker.io/kindest/node:v1.99.1"
        assert other.get("published.tools.kubectl", "version") == "1.99.1"
        assert other.table("published.tools.kind") == versions.table("published.tools.kind")
        assert versions == read_versions()

    def test_a_module_at_another_version_is_named(self, tmp_path: Path) -> None:
        images = tmp_path / "images"
        shutil.copytree(IMAGES, images)
        module = images / "go/cluster/go.mod"
        version = read_versions().get("go", "go.etcd.io/etcd/server/v3")
        module.write_text(
            module.read_text().replace(f"go.etcd.io/etcd/server/v3 v{version}", "go.etcd.io/etcd/server/v3 v3.0.1")
        )
        with pytest.raises(HarnessError, match=rf"go.etcd.io/etcd/server/v3 at {version}, and go/\*/go.mod has 3.0.1"):
            check_pins(read_versions(images / "versions.toml"), images)


class TestGoPrograms:
    @pytest.mark.parametrize(
        ("go_mod", "files", "packages"),
        [
            ("module m\n\ntool example.org/etcd\n", ["coredns/main.go"], "tool ./..."),
            ("module m\n\ntool (\n\texample.org/kind\n)\n", [], "tool"),
            ("module m\n", ["main.go"], "./..."),
        ],
        ids=["both", "tools", "its own"],
    )
    def test_its_tools_and_its_own_packages_are_compiled(
        self, go_mod: str, files: list[str], packages: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module, go = tmp_path / "images/go/m", tmp_path / "bin/go"
        for file, text in {"go.mod": go_mod, **dict.fromkeys(files, "package main\n")}.items():
            (module / file).parent.mkdir(parents=True, exist_ok=True)
            (module / file).write_text(text)
        go.parent.mkdir()
        environment = "GOGC=$GOGC GOMEMLIMIT=$GOMEMLIMIT CGO_ENABLED=$CGO_ENABLED"
        go.write_text(f'#!/bin/sh\nprintf "%s\\n" "{environment}" "$@" > {tmp_path}/asked\n')
        go.chmod(0o755)
        monkeypatch.setenv("PATH", f"{go.parent}:{os.environ['PATH']}")
        recipe = GoPrograms("go-m", "go/m", Kept.AS_FILES, variables={"m.version": "1"})
        recipe.make(BuildCache([recipe], tmp_path / "images", tmp_path / "cache"))
        environment, *asked = (tmp_path / "asked").read_text().splitlines()
        assert environment == "GOGC=off GOMEMLIMIT=1GiB CGO_ENABLED=0"
        assert " ".join(asked).endswith(f"/go-m/ {packages}")
        assert asked[asked.index("-ldflags") + 1] == "-s -w -X m.version=1"
        assert asked[asked.index("-gcflags") + 1] == "all=-dwarf=false"

    def test_the_tools_of_the_clusters_module_are_all_compiled_and_each_once(self) -> None:
        block = re.search(r"^tool \((.*?)^\)", (IMAGES / "go/cluster/go.mod").read_text(), re.MULTILINE | re.DOTALL)
        assert block
        assert sorted(block[1].split()) == sorted({*CLUSTER, *TOOLS} - {"./..."})
        assert len({*CLUSTER, *TOOLS}) == len(CLUSTER) + len(TOOLS)


CLASSIC = """cat <<END
Step 1/3 : FROM base
 ---> 658d74ca040c
Step 2/3 : RUN pip install jupyterhub==99
 ---> Running in 4a4d5619586e
ERROR: No matching distribution found for jupyterhub==99
END
echo "The command '/bin/sh -c pip install jupyterhub==99' returned a non-zero code: 1" >&2
exit 1"""
BUILDKIT = """cat >&2 <<END
#5 [2/3] RUN pip install jupyterhub==99
#5 1.200 ERROR: No matching distribution found for jupyterhub==99
#5 ERROR: process did not complete successfully: exit code: 1
------
 > [2/3] RUN pip install jupyterhub==99:
1.200 ERROR: No matching distribution found for jupyterhub==99
------
ERROR: failed to solve: process did not complete successfully: exit code: 1
END
exit 1"""


class TestBuildImage:
    @pytest.mark.parametrize("output", [CLASSIC, BUILDKIT], ids=["classic", "buildkit"])
    def test_a_dockerfile_that_fails(self, output: str, docker: Callable[[str], Path], tmp_path: Path) -> None:
        docker(output)
        with pytest.raises(HarnessError) as raised:
            build_image(tmp_path, tag="hub:1", what="images/hub")
        first, *rest = str(raised.value).splitlines()
        assert first == "images/hub cannot be built. It fails at: RUN pip install jupyterhub==99"
        assert any("No matching distribution found for jupyterhub==99" in line for line in rest)

    def test_a_checkout_under_a_umask_of_077_makes_the_same_image(
        self,
        images: Path,
        bench: Callable[..., BuildCache],
        docker: Callable[[str], Path],
        steps: Steps,
        tmp_path: Path,
    ) -> None:
        for path in (images / "base/Dockerfile", images / "base"):
            path.chmod(0o700)
        docker(f'for context; do :; done; [ "$1" != build ] || stat -c %a "$context" "$context"/* > {tmp_path}/modes')
        made = bench(Image("base", "base", Kept.IN_DOCKER))
        make(made, ["base"], steps)
        assert (tmp_path / "modes").read_text() == "755\n755\n"

    def test_a_package_that_does_not_build_is_named(self) -> None:
        output = (
            "Step 4/6 : RUN pip install scipy\nCollecting scipy==1.1.0\n\x1b[91merror: metadata-generation-failed\n"
            "\x1b[0m ---> Removed intermediate container 1b2c\n"
            "DEPRECATED: The legacy builder is deprecated\n            Install the buildx component\nexit code 1\n"
        )
        assert explain(CommandError("", output), "course trees").splitlines() == [
            "course trees cannot be built. It fails at: RUN pip install scipy",
            "  | pip was at scipy==1.1.0",
            "  | Collecting scipy==1.1.0",
            "  | error: metadata-generation-failed",
            "  | exit code 1",
        ]

    def test_a_daemon_that_refuses(self, docker: Callable[[str], Path], tmp_path: Path) -> None:
        docker("echo 'permission denied while trying to connect' >&2; exit 1")
        with pytest.raises(HarnessError, match=r"images/hub cannot be built.\n  \| permission denied"):
            build_image(tmp_path, tag="hub:1", what="images/hub")

    def test_without_a_registry_every_stage_is_built_on_ours(self) -> None:
        written = """ARG BASE_IMAGE=quay.io/jupyter/scipy-notebook
FROM --platform=linux/amd64 python:3 AS wheels
FROM wheels as more
from quay.io/jupyter/pytorch-notebook:cuda12
FROM ${BASE_IMAGE}
COPY --from=wheels /w /w
"""
        built, named = on_base(written, "ours:1")
        assert named == ["python:3", "quay.io/jupyter/pytorch-notebook:cuda12"]
        assert [line for line in built.splitlines() if line.lower().startswith("from")] == [
            "FROM --platform=linux/amd64 ours:1 AS wheels",
            "FROM wheels as more",
            "from ours:1",
            "FROM ${BASE_IMAGE}",
        ]

    def test_the_machines_proxy_goes_along(
        self, docker: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
        calls = docker("")
        build_image(tmp_path, tag="hub:1", build_args={"BASE": "python:1"}, labels={"owner": "me"})
        call = calls.read_text()
        assert "--build-arg https_proxy=http://proxy.example:3128" in call
        assert "--build-arg BASE=python:1 --label owner=me" in call


def saved_image(file: Path, layers: list[bytes], *, as_oci: bool) -> None:
    """What `docker save` writes: the OCI layout of Docker 25 and later, or the archive of those before."""
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [sha(layer) for layer in layers]}}).encode()
    names = [f"blobs/sha256/{sha(blob)[7:]}" for blob in (config, *layers)]
    if not as_oci:
        names = ["config.json", *(f"{number}/layer.tar" for number in range(len(layers)))]
    manifest = json.dumps([{"Config": names[0], "RepoTags": ["x:1"], "Layers": names[1:]}]).encode()
    with tarfile.open(file, "w") as archive:
        for name, content in zip([*names, "manifest.json"], [config, *layers, manifest], strict=True):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def sha(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class TestLayouts:
    @pytest.fixture
    def store(self, tmp_path: Path) -> OciStore:
        return OciStore(tmp_path / "layouts")

    @pytest.mark.parametrize("as_oci", [True, False], ids=["docker 25", "docker 20"])
    def test_an_image_is_saved(
        self, as_oci: bool, store: OciStore, docker: Callable[[str], Path], tmp_path: Path
    ) -> None:
        saved_image(tmp_path / "saved.tar", [b"base", b"hub"], as_oci=as_oci)
        docker(f'cp {tmp_path}/saved.tar "$3"')
        layout = store.save("hub:1", "hub-1")
        assert [digest for digest, _ in layout.blobs()[1:]] == [sha(b"base"), sha(b"hub")]
        assert all(sha(file.read_bytes()) == digest for digest, file in layout.blobs())
        assert sha(layout.manifest.encode()) == layout.digest
        assert store.find("hub-1") == layout

    def test_images_share_what_they_share(self, store: OciStore, docker: Callable[[str], Path], tmp_path: Path) -> None:
        for name in ("hub", "notebook"):
            saved_image(tmp_path / f"{name}:1", [b"base", name.encode()], as_oci=True)
        docker(f'cp "{tmp_path}/$4" "$3"')
        hub, notebook = (store.save(f"{name}:1", f"{name}-1") for name in ("hub", "notebook"))
        assert hub.file(sha(b"base")).samefile(notebook.file(sha(b"base")))
        store.remove(["hub-1"])
        assert notebook.file(sha(b"base")).read_bytes() == b"base"
        assert notebook.file(sha(b"notebook")).exists()
        assert not (store.directory / "blobs" / sha(b"hub").replace(":", "/")).exists()

    def test_a_shared_layer_is_not_read_again(
        self, store: OciStore, docker: Callable[[str], Path], tmp_path: Path
    ) -> None:
        saved_image(tmp_path / "base:1", [b"base"], as_oci=True)
        saved_image(tmp_path / "course:1", [b"base", b"course"], as_oci=True)
        whole = (tmp_path / "course:1").read_bytes()
        (tmp_path / "course:1").write_bytes(whole.replace(b"base\0", b"read\0"))
        docker(f'cp "{tmp_path}/$4" "$3"')
        base, course = (store.save(f"{name}:1", f"{name}-1") for name in ("base", "course"))
        assert course.file(sha(b"base")).samefile(base.file(sha(b"base")))
        assert json.loads(course.manifest)["layers"][:1] == json.loads(base.manifest)["layers"]

    def test_an_image_that_is_not_there_leaves_nothing(self, store: OciStore, docker: Callable[[str], Path]) -> None:
        docker("echo 'No such image: hub:1' >&2; exit 1")
        with pytest.raises(HarnessError, match="No such image: hub:1"):
            store.save("hub:1", "hub-1")
        assert store.find("hub-1") is None
        assert list(store.directory.iterdir()) == []

    def test_one_more_file(self, store: OciStore, docker: Callable[[str], Path], tmp_path: Path) -> None:
        saved_image(tmp_path / "saved.tar", [b"base"], as_oci=True)
        docker(f'cp {tmp_path}/saved.tar "$3"')
        base = store.save("base:1", "base-1")
        first, again = (store.with_file(base, "/etc/ol-course", "intro\n", f"course-{n}") for n in range(2))
        assert first.digest == again.digest != base.digest
        *below, (digest, layer) = first.blobs()
        assert [each for each, _ in below[1:]] == [sha(b"base")]
        with tarfile.open(layer) as archive:
            content = archive.extractfile("etc/ol-course")
            assert content
            assert content.read() == b"intro\n"
        config = json.loads(first.blobs()[0][1].read_text())
        assert config["rootfs"]["diff_ids"] == [sha(b"base"), digest]

    def test_several_for_containerd(self, store: OciStore, docker: Callable[[str], Path], tmp_path: Path) -> None:
        saved_image(tmp_path / "saved.tar", [b"base"], as_oci=True)
        docker(f'cp {tmp_path}/saved.tar "$3"')
        base = store.save("base:1", "base-1")
        course = store.with_file(base, "/etc/ol-course", "intro\n", "course-1")
        (tmp_path / "merged").mkdir()
        merge({"registry.k8s.io/a:1": base, "registry.k8s.io/b:1": course}, tmp_path / "merged")
        index = json.loads((tmp_path / "merged/index.json").read_text())
        named = {each["annotations"]["io.containerd.image.name"]: each["digest"] for each in index["manifests"]}
        assert named == {"registry.k8s.io/a:1": base.digest, "registry.k8s.io/b:1": course.digest}


class TestNodeStore:
    """What nodes start with, in a volume: whole, or not there."""

    @pytest.fixture
    def build_cache(self, images: Path, tmp_path: Path) -> BuildCache:
        store = NodeStore("store", "base", Kept.IN_VOLUME, images=("hub",))
        (images / "node").mkdir()
        build_cache = BuildCache([note("node"), note("hub"), store], images, tmp_path / "cache")
        hub = build_cache.layout("hub").path
        manifest = {"config": {"digest": "sha256:1"}, "layers": []}
        (hub / "blobs/sha256").mkdir(parents=True)
        for digest, content in (("1", "{}"), ("2", json.dumps(manifest))):
            (hub / "blobs/sha256" / digest).write_text(content)
        (hub / "index.json").write_text(json.dumps({"manifests": [{"digest": "sha256:2"}]}))
        return build_cache

    def test_it_is_there_with_its_volume_and_the_sign(
        self, build_cache: BuildCache, docker: Callable[[str], Path]
    ) -> None:
        """Both are in Docker, so that all who share it see them."""
        volume, sign = build_cache.volume("store"), build_cache.sign("store")
        for there, missing in ((volume, True), (sign, True), (f"{volume} {sign}", False)):
            docker(f'[ "$1 $2" != "volume ls" ] || printf "%s\\n" {there}')
            assert ("store" in build_cache.missing(["store"])) == missing, there

    def test_it_has_its_sign_when_it_is_whole(self, build_cache: BuildCache, docker: Callable[[str], Path]) -> None:
        volume, sign = build_cache.volume("store"), build_cache.sign("store")
        calls = docker("")
        build_cache.recipes["store"].make(build_cache)
        first, second, third, unpacking, last = calls.read_text().splitlines()
        assert [first, second] == [f"volume rm --force {sign}", f"volume rm --force {volume}"]
        assert [third, last] == [f"volume create {volume}", f"volume create {sign}"]
        assert f"type=volume,source={volume},target=/var/lib/containerd" in unpacking
        assert unpacking.endswith(f"--entrypoint import-images {build_cache.tag('node')} /images localhost/prepared")

    def test_one_that_fails_leaves_nothing(self, build_cache: BuildCache, docker: Callable[[str], Path]) -> None:
        calls = docker('[ "$1" != run ] || exit 1')
        with pytest.raises(CommandError):
            build_cache.recipes["store"].make(build_cache)
        assert calls.read_text().splitlines()[-1] == f"volume rm --force {build_cache.volume('store')}"
        assert f"volume create {build_cache.sign('store')}" not in calls.read_text()

    def test_one_that_another_fills_is_left_alone(self, build_cache: BuildCache, docker: Callable[[str], Path]) -> None:
        calls = docker('[ "$1 $2" != "volume rm" ] || { echo volume is in use; exit 1; }')
        with pytest.raises(HarnessError, match="is in use: another run, with another cache directory, may be filling"):
            build_cache.recipes["store"].make(build_cache)
        assert "run " not in calls.read_text()


class TestPrune:
    def test_the_newest_stay_and_so_does_what_is_in_use(self, tmp_path: Path, docker: Callable[[str], Path]) -> None:
        calls = docker(f"[ $1 != images ] || for key in 4 3 2 1; do echo {NAMESPACE}/kube-proxy-$key; done")
        for place in ("files", "layouts"):
            for age, key in enumerate(["d", "c", "b", "a"]):
                directory = tmp_path / place / f"go-tools-{key}"
                directory.mkdir(parents=True)
                os.utime(directory, (1000 - age, 1000 - age))
        prune(tmp_path, keep=2, in_use=["go-tools-a", "kube-proxy-1"])
        for place in ("files", "layouts"):
            assert {path.name for path in (tmp_path / place).iterdir()} == {"go-tools-d", "go-tools-c", "go-tools-a"}
        changes = [call for call in calls.read_text().splitlines() if not call.startswith(("images ", "volume ls "))]
        assert changes == [f"rmi {NAMESPACE}/kube-proxy:2"]

    def test_the_newest_volumes_stay(self, tmp_path: Path, docker: Callable[[str], Path]) -> None:
        """The cache knows none of them: another one, with the same Docker, does."""
        kinds = ("node-store", "whole-node-store")
        names = [f"{NAMESPACE}-{kind}-{key}" for key in "1234" for kind in kinds]
        dates = "\n".join(f"2026-01-0{number}T00:00:00Z\t{name}" for number, name in enumerate(names, 1))
        calls = docker(
            f"""case "$1 $2" in
            "volume ls") printf "%s\\n" {" ".join(names)} a-{NAMESPACE}-of-others ;;
            "volume inspect") printf "%s\\n" "{dates}" ;;
            esac"""
        )
        prune(tmp_path, keep=2, in_use=["node-store-1"])
        asked, *removed = [
            call for call in calls.read_text().splitlines() if call.startswith(("volume rm", "volume in"))
        ]
        assert "of-others" not in asked
        assert removed == [f"volume rm --force {NAMESPACE}-node-store-2 {NAMESPACE}-whole-node-store-2"]

    def test_what_a_killed_run_left_goes(self, tmp_path: Path, docker: Callable[[str], Path]) -> None:
        docker("")
        for age, name in ((ABANDONED + 1, "tmp-old"), (0, "tmp-new")):
            for directory in (tmp_path / name, tmp_path / "layouts" / name):
                directory.mkdir(parents=True)
                os.utime(directory, (time.time() - age,) * 2)
        prune(tmp_path, keep=2, in_use=[])
        assert {path.name for path in tmp_path.rglob("tmp-*")} == {"tmp-new"}


class TestPip:
    def test_the_machines_index_is_used(self, tmp_path: Path) -> None:
        file = tmp_path / "pip.conf"
        file.write_text("[global]\nindex-url = https://mirror.example/simple\nretries = 9\n")
        environ = {"PIP_CONFIG_FILE": str(file), "PIP_TRUSTED_HOST": "mirror.example"}
        lines = pip_configuration(environ).splitlines()
        assert "index-url = https://mirror.example/simple" in lines
        assert "trusted-host = mirror.example" in lines
        assert not any("retries" in line for line in lines)


Answers = dict[str, tuple[int, bytes]]


@pytest.fixture
def server() -> Iterator[tuple[str, Answers]]:
    """An HTTP server: its host:port, and what it answers by path, to be filled in."""
    answers: Answers = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = answers.get(self.path, (404, b""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if status == 302:
                self.send_header("Location", content.decode())
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{httpd.server_port}", answers
        httpd.shutdown()


class TestChoose:
    def test_what_is_asked_for_is_not_looked_at(self) -> None:
        assert pull.choose("build", {})[0] == "build"
        assert pull.choose("pull", {})[0] == "pull"

    def test_places_that_answer_are_used(self, server: tuple[str, Answers]) -> None:
        location, answers = server
        answers |= {"/v2/": (401, b""), "/tools": (200, b"")}
        mirrors = dict.fromkeys(("docker.io", "quay.io", "registry.k8s.io"), location)
        how, why = pull.choose("auto", {**mirrors, "tools": f"http://{location}/tools"})
        assert (how, why) == ("pull", f"{location}, http://{location}/tools answer")

    def test_a_place_that_does_not_answer_is_named(self, server: tuple[str, Answers]) -> None:
        location, answers = server
        answers |= {"/v2/": (401, b""), "/tools": (403, b"")}
        mirrors = dict.fromkeys(("docker.io", "registry.k8s.io"), location)
        nobody = "127.0.0.1:1"
        how, why = pull.choose("auto", {**mirrors, "quay.io": nobody, "tools": f"http://{location}/tools"})
        assert how == "build"
        assert f"{nobody} (ConnectError)" in why
        assert f"http://{location}/tools (status 403)" in why
        assert "docker.io" not in why

    def test_it_does_not_wait_for_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pull, "PROBE_TIMEOUT", 0.2)
        silent = threading.Event()
        monkeypatch.setattr(pull, "_probe", lambda url: str(silent.wait(10)))
        started = time.monotonic()
        how, why = pull.choose("auto", {})
        silent.set()
        assert time.monotonic() - started < 2
        assert how == "build"
        assert "quay.io (no answer)" in why


class TestKubernetes:
    def test_pinned(self) -> None:
        versions = read_versions()
        assert artifacts.kubernetes("build", "pinned") == versions.get("go", "k8s.io/kubernetes")
        assert artifacts.kubernetes("pull", "pinned") == versions.get("published.tools.kubectl", "version")

    def test_published(self) -> None:
        assert artifacts.kubernetes("pull", "1.99.1") == "1.99.1"

    def test_built(self) -> None:
        pinned = artifacts.kubernetes("build", "pinned")
        assert artifacts.kubernetes("build", pinned) == pinned
        with pytest.raises(
            HarnessError, match=rf"\A--kubernetes 1\.99\.1: what is built is Kubernetes {pinned}, and no"
        ):
            artifacts.kubernetes("build", "1.99.1")


class TestPull:
    VERSIONS = """
[published.images]
node = "docker.io/kindest/node:v1"
notebook = "quay.io/jupyter/scipy-notebook:1"
[published.node_digests]
"2" = "sha256:2222"
[services.registry]
published = "docker.io/library/registry:3"
[services.moto]
published = "docker.io/motoserver/moto:5"
[services.postgres]
published = "docker.io/library/postgres:15"
[published.tools.kind]
version = "0.1"
url = "https://kind.example/v{version}/kind"
checksum = ".sha256sum"
[published.tools.kubectl]
version = "1.2"
url = "https://kubectl.example/{version}"
checksum = ".sha256"
[published.tools.helm]
version = "3"
url = "https://helm.example/helm-{version}.tar.gz"
checksum = ".sha256sum"
"""

    @pytest.fixture
    def mirrors(self, server: tuple[str, Answers], tmp_path: Path) -> dict[str, str]:
        """A mirror of the tools, each published with its checksum."""
        location, answers = server
        (tmp_path / "versions.toml").write_text(self.VERSIONS)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as packed:
            entry = tarfile.TarInfo("linux-amd64/helm")
            entry.size = 4
            packed.addfile(entry, io.BytesIO(b"helm"))
        for path, content, checksum in (
            ("/kind.example/v0.1/kind", b"kind", ".sha256sum"),
            ("/kubectl.example/1.2", b"kubectl", ".sha256"),
            ("/helm.example/helm-3.tar.gz", archive.getvalue(), ".sha256sum"),
        ):
            answers[path] = (200, content)
            answers[path + checksum] = (200, f"{sha(content)[7:]}  name\n".encode())
        return {"docker.io": "mirror.example/hub", "tools": f"http://{location}/"}

    def test_everything_comes_from_where_it_is_mirrored(
        self, mirrors: dict[str, str], tmp_path: Path, docker: Callable[[str], Path], steps: Steps
    ) -> None:
        calls = docker("[ $1 != images ] || echo postgres:15")
        versions = read_versions(tmp_path / "versions.toml")
        made = pull.pull(versions, mirrors, tmp_path / "cache", steps, lambda: None)
        pulled = {call.rpartition(" ")[2] for call in calls.read_text().splitlines() if call.startswith("pull")}
        assert pulled == {
            "mirror.example/hub/kindest/node:v1",
            "mirror.example/hub/library/registry:3",
            "mirror.example/hub/motoserver/moto:5",
            "mirror.example/hub/library/postgres:15",
            "quay.io/jupyter/scipy-notebook:1",
        }
        assert (made.node_image, made.images) == ("mirror.example/hub/kindest/node:v1", {})
        assert made.services["postgres"] == "mirror.example/hub/library/postgres:15"
        assert [tool.read_text() for tool in (made.kind, made.kubectl, made.helm)] == ["kind", "kubectl", "helm"]
        assert os.access(made.helm, os.X_OK)

    def test_a_release_that_is_kept_elsewhere_is_followed(
        self,
        mirrors: dict[str, str],
        server: tuple[str, Answers],
        tmp_path: Path,
        docker: Callable[[str], Path],
        steps: Steps,
    ) -> None:
        docker("")
        server[1]["/storage"] = server[1]["/kind.example/v0.1/kind"]
        server[1]["/kind.example/v0.1/kind"] = (302, b"/storage")
        made = pull.pull(read_versions(tmp_path / "versions.toml"), mirrors, tmp_path / "cache", steps, lambda: None)
        assert made.kind.read_text() == "kind"

    def test_another_kubernetes_comes_with_its_own_kubectl(
        self,
        mirrors: dict[str, str],
        server: tuple[str, Answers],
        tmp_path: Path,
        docker: Callable[[str], Path],
        steps: Steps,
    ) -> None:
        docker("")
        server[1]["/kubectl.example/1.99.1"] = (200, b"newer")
        server[1]["/kubectl.example/1.99.1.sha256"] = (200, f"{sha(b'newer')[7:]}  name\n".encode())
        versions = read_versions(tmp_path / "versions.toml").with_kubernetes("1.99.1")
        made = pull.pull(versions, mirrors, tmp_path / "cache", steps, lambda: None)
        assert made.node_image == "mirror.example/hub/kindest/node:v1.99.1"
        assert made.kubectl.read_text() == "newer"

    def test_a_node_image_is_pinned_by_its_digest(
        self, mirrors: dict[str, str], tmp_path: Path, docker: Callable[[str], Path], steps: Steps
    ) -> None:
        (tmp_path / "versions.toml").write_text(self.VERSIONS.replace("node:v1", "node:v2"))
        versions = read_versions(tmp_path / "versions.toml")
        pinned = "mirror.example/hub/kindest/node:v2@sha256:2222"
        calls = docker("")
        assert pull.pull(versions, mirrors, tmp_path / "cache", steps, lambda: None).node_image == pinned
        assert f"pull --quiet {pinned}" in calls.read_text().splitlines()
        calls.unlink()
        docker("[ $1 != images ] || echo 'x:<none> mirror.example/hub/kindest/node@sha256:2222'")
        pull.pull(versions, mirrors, tmp_path / "cache", steps, lambda: None)
        assert "node" not in "".join(call for call in calls.read_text().splitlines() if call.startswith("pull"))

    def test_what_is_here_is_not_fetched_again(
        self, mirrors: dict[str, str], tmp_path: Path, docker: Callable[[str], Path], steps: Steps
    ) -> None:
        versions = read_versions(tmp_path / "versions.toml")
        here = "kindest/node:v1 registry:3 motoserver/moto:5 postgres:15 quay.io/jupyter/scipy-notebook:1"
        docker(f"printf '%s\\n' {here}")
        tools = {"tools": mirrors["tools"]}
        cold: list[str] = []
        pull.pull(versions, tools, tmp_path / "cache", steps, lambda: cold.append("tools are missing"))
        assert cold == ["tools are missing"]
        calls = docker(f"printf '%s\\n' {here}")
        pull.pull(versions, {"tools": "http://127.0.0.1:1"}, tmp_path / "cache", steps, lambda: cold.append("nothing"))
        assert cold == ["tools are missing"]
        assert "pull" not in calls.read_text()

    def test_a_damaged_download_is_refused(
        self,
        mirrors: dict[str, str],
        server: tuple[str, Answers],
        tmp_path: Path,
        docker: Callable[[str], Path],
        steps: Steps,
    ) -> None:
        docker("")
        server[1]["/kubectl.example/1.2"] = (200, b"something else")
        with pytest.raises(HarnessError, match=r"kubectl.example/1.2 is damaged: its sha256 is"):
            pull.pull(read_versions(tmp_path / "versions.toml"), mirrors, tmp_path / "cache", steps, lambda: None)
        assert not list((tmp_path / "cache").rglob("kubectl"))

    def test_a_tool_that_is_not_there(
        self, mirrors: dict[str, str], tmp_path: Path, docker: Callable[[str], Path], steps: Steps
    ) -> None:
        docker("")
        mirrors["tools"] += "elsewhere"
        with pytest.raises(HarnessError, match=r"elsewhere/kind.example/v0.1/kind cannot be downloaded: 404"):
            pull.pull(read_versions(tmp_path / "versions.toml"), mirrors, tmp_path / "cache", steps, lambda: None)

    def test_an_image_that_cannot_be_pulled(
        self, mirrors: dict[str, str], tmp_path: Path, docker: Callable[[str], Path], steps: Steps
    ) -> None:
        docker("[ $1 != pull ] || { echo 'manifest unknown' >&2; exit 1; }")
        with pytest.raises(
            HarnessError, match=r"mirror.example/hub/kindest/node:v1 cannot be pulled: manifest unknown"
        ):
            pull.pull(read_versions(tmp_path / "versions.toml"), mirrors, tmp_path / "cache", steps, lambda: None)
