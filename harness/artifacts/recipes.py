"""The recipes of all artifacts: each is made from package registries."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.artifacts.build_cache import BuildCache, Kept, Recipe
from harness.artifacts.corefile import check_corefile
from harness.artifacts.dockerfile import build_image
from harness.artifacts.host_settings import apt_sources, certificates, maven_settings, pip_configuration
from harness.artifacts.oci import merge
from harness.base.errors import HarnessError
from harness.base.files import make_readable
from harness.base.shell import CommandError, run
from harness.host.docker import bind, create_volume, remove_volumes, run_once
from harness.host.node_store import STORE
from harness.plan.versions import ServiceImage, Versions

COMPILING = {"CGO_ENABLED": "0", "GOGC": "off", "GOMEMLIMIT": "1GiB"}
"""Environment of Go's compiler: static programs, and no collection of garbage before a gibibyte a process."""
CLUSTER = (
    *(
        f"k8s.io/kubernetes/cmd/{program}"
        for program in (
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kube-proxy",
            "kubeadm",
            "kubectl",
            "kubelet",
        )
    ),
    "go.etcd.io/etcd/server/v3",
    "./...",
)
"""Packages of the module go/cluster that run in the cluster: tools of its go.mod, and its own."""
TOOLS = ("helm.sh/helm/v3/cmd/helm", "sigs.k8s.io/kind")
"""Packages of the same module that run on the machine: in one module, what they share with the cluster is compiled
once."""
PREPARED = "localhost/prepared"
"""Prefix of the names under which images are unpacked, and which are forgotten then."""
REPORTED_VERSION = "github.com/prometheus/common/version.Version"
"""Go variable from which the programs of Prometheus' family report their version."""


@dataclass(frozen=True)
class GoPrograms(Recipe):
    """Programs compiled from a Go module: its tools, and main packages of its own."""

    ON_ALL_PROCESSORS = True

    packages: tuple[str, ...] = ()
    """Packages to compile, where those are not all of them."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Go variables that the linker sets, by full name."""
    linking: str = "-s -w"
    """Flags of the linker: no symbols, half the size."""
    compiling: str = "all=-dwarf=false"
    """Flags of the compiler: nothing for debuggers, which the linker would leave out."""

    def make(self, build_cache: BuildCache) -> None:
        module = build_cache.images / self.folder
        tools = ["tool"] if "\ntool" in (module / "go.mod").read_text() else []
        own = ["./..."] if any(module.rglob("*.go")) else []
        flags = " ".join([self.linking, *(f"-X {name}={value}" for name, value in self.variables.items())])
        with build_cache.new_directory(self.name) as directory:
            run(
                [
                    "go", "build", "-trimpath", "-buildvcs=false", "-gcflags", self.compiling, "-ldflags", flags,
                    "-o", f"{directory}/", *(self.packages or (*tools, *own)),
                ],
                cwd=module,
                env=COMPILING,
                timeout=3600,
                what=f"compiling {self.name}",
            )  # fmt: skip


@dataclass(frozen=True)
class NodePackages(Recipe):
    """The node_modules of a package.json and its lock file."""

    def make(self, build_cache: BuildCache) -> None:
        with build_cache.new_directory(self.name) as directory:
            for file in ("package.json", "package-lock.json"):
                shutil.copy(build_cache.images / self.folder / file, directory)
            run(
                ["npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=directory,
                env={"NODE_EXTRA_CA_CERTS": str(certificates())},
                timeout=600,
                what="npm ci",
            )


@dataclass(frozen=True)
class Debian(Recipe):
    """A minimal Debian from this machine's own mirror, with the authorities that this machine trusts."""

    suite: str
    certificates: str
    """Digest of the machine's trusted certificates."""

    def make(self, build_cache: BuildCache) -> None:
        with build_cache.scratch() as scratch:
            sources, root = scratch / "sources.list", scratch / "root.tar"
            sources.write_text(apt_sources(self.suite))
            run(
                [build_cache.images / self.folder / "make", self.suite, sources, certificates(), root],
                timeout=900,
                what="mmdebstrap",
            )
            environment = (build_cache.images / self.folder / "environment").read_text().split()
            options = [f"--change=ENV {variable}" for variable in environment]
            run(["docker", "import", *options, root, build_cache.tag(self.name)], timeout=300, what="docker import")


@dataclass(frozen=True)
class Image(Recipe):
    """An image from a Dockerfile."""

    base: str = ""
    """Recipe of the image that it is FROM; that image is the build argument BASE."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Build arguments."""
    parts: tuple[str, ...] = ()
    """Files of other artifacts that its Dockerfile copies, as artifact/file."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Texts of further files that its Dockerfile copies, by name."""

    @property
    def needs(self) -> tuple[str, ...]:
        names = dict.fromkeys([self.base, *(part.partition("/")[0] for part in self.parts)])
        return tuple(name for name in names if name)

    def make(self, build_cache: BuildCache) -> None:
        arguments = {**self.arguments, "BASE": build_cache.tag(self.base)} if self.base else self.arguments
        with build_cache.scratch() as scratch:
            context = scratch / "context"
            shutil.copytree(build_cache.images / self.folder, context)
            self.fill(context, build_cache)
            make_readable(context)
            build_image(context, tag=build_cache.tag(self.name), build_args=arguments, what=f"images/{self.folder}")
        if self.kept is Kept.AS_LAYOUT:
            build_cache.layouts.save(build_cache.tag(self.name), build_cache.layout_name(self.name))

    def fill(self, context: Path, build_cache: BuildCache) -> None:
        """Add the files that are not in its folder to a build context."""
        for part in self.parts:
            artifact, _, file = part.partition("/")
            source = build_cache.directory(artifact) / file
            if source.is_dir():
                shutil.copytree(source, context / file, copy_function=os.link, symlinks=True)
            else:
                os.link(source, context / file)
        for name, text in self.texts.items():
            (context / name).write_text(text)


@dataclass(frozen=True)
class NodeImage(Image):
    """The kind node image, with the control plane's images inside under the names that kubeadm asks for."""

    bundled: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        return (*super().needs, *self.bundled)

    def fill(self, context: Path, build_cache: BuildCache) -> None:
        super().fill(context, build_cache)
        kubernetes = self.arguments["KUBERNETES"]
        programs = build_cache.directory("go-cluster")
        kubeadm = programs / "kubeadm"
        check_corefile(kubeadm, programs / "coredns", kubernetes)
        listed = run([kubeadm, "config", "images", "list", "--kubernetes-version", kubernetes], timeout=60).split()
        asked_for = {reference.rpartition("/")[2].partition(":")[0]: reference for reference in listed}
        merge({asked_for[name]: build_cache.layout(name) for name in self.bundled}, context / "images")


@dataclass(frozen=True)
class NodeStore(Recipe):
    """A disk of containerd on which the images that each cluster runs are unpacked: its nodes start with a copy.

    A node pulls what it is asked for all the same, and finds the layers there.
    """

    images: tuple[str, ...] = ()
    """Images beside the node's own, that are kept as layouts."""
    bases: tuple[str, ...] = ()
    """Images that others are built on, that are kept in Docker."""

    @property
    def needs(self) -> tuple[str, ...]:
        return ("node", *self.images, *self.bases)

    def make(self, build_cache: BuildCache) -> None:
        volume, sign = build_cache.volume(self.name), build_cache.sign(self.name)
        for name in self.bases:
            build_cache.layouts.save(build_cache.tag(name), build_cache.layout_name(name))
        prepared = {f"{PREPARED}/{name}:1": build_cache.layout(name) for name in (*self.images, *self.bases)}
        with build_cache.scratch() as scratch:
            merge(prepared, scratch / "images")
            try:
                remove_volumes([sign])
                remove_volumes([volume])
            except CommandError as error:
                raise HarnessError(
                    f"The volume {volume} is in use: another run, with another cache directory, may be filling it. "
                    f"Run again when it has ended\n{error.output}"
                ) from error
            create_volume(volume)
            try:
                run_once(
                    build_cache.tag("node"),
                    ["import-images", "/images", PREPARED],
                    name=volume,
                    mounts=[f"type=volume,source={volume},target={STORE}", bind(scratch / "images", "/images:ro")],
                    privileged=True,
                    timeout=900,
                )
            except BaseException:
                remove_volumes([volume])
                raise
            create_volume(sign)


def recipes(versions: Versions) -> list[Recipe]:
    """Return all recipes; those that can be made at the same time are made in this order."""
    kubernetes = versions.get("go", "k8s.io/kubernetes")
    programs = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    return [
        # One module for all programs of the cluster: what several of them are made of is compiled once.
        GoPrograms(
            "go-cluster", "go/cluster", Kept.AS_FILES, packages=CLUSTER, variables=_kubernetes_variables(kubernetes)
        ),
        # These wait for the network while the cluster is compiled.
        _debian(versions.get("debian", "suite")),
        Image("python", "python", Kept.IN_DOCKER, base="debian", texts={"pip.conf": pip_configuration()}),
        _image_of_packages("notebook", Kept.IN_DOCKER, versions, JUPYTER="notebook", SCIENCE="science"),
        _image_of_packages("hub", Kept.AS_LAYOUT, versions, PACKAGES="hub"),
        *(recipe for name, image in versions.services().items() for recipe in _of_service(name, image, versions)),
        NodePackages("npm-proxy", "npm/proxy", Kept.AS_FILES),
        Image("proxy", "proxy", Kept.AS_LAYOUT, base="debian", parts=("npm-proxy/node_modules",)),
        Image("network-tools", "network-tools", Kept.AS_LAYOUT, base="debian"),
        *(Image(name, name, Kept.AS_LAYOUT, parts=(f"go-cluster/{name}",)) for name in programs),
        Image("kube-proxy", "kube-proxy", Kept.AS_LAYOUT, base="debian", parts=("go-cluster/kube-proxy",)),
        Image("coredns", "coredns", Kept.AS_LAYOUT, parts=("go-cluster/coredns",)),
        Image("etcd", "etcd", Kept.AS_LAYOUT, parts=("go-cluster/server",)),
        Image("pause", "pause", Kept.AS_LAYOUT, parts=("go-cluster/pause",)),
        NodeImage(
            "node",
            "node",
            Kept.IN_DOCKER,
            base="debian",
            arguments={"KUBERNETES": kubernetes},
            parts=tuple(f"go-cluster/{program}" for program in ("kubeadm", "kubelet", "kubectl")),
            bundled=(*programs, "kube-proxy", "coredns", "etcd", "pause"),
        ),
        NodeStore(
            "node-store",
            "node",
            Kept.IN_VOLUME,
            images=("hub", "proxy"),
            bases=("notebook",),
        ),
        GoPrograms("go-tools", "go/cluster", Kept.AS_FILES, packages=TOOLS),
        *(recipe for name, image in versions.addons().items() for recipe in _of_addon(name, image, versions)),
    ]


def _image_of_packages(name: str, kept: Kept, versions: Versions, **tables: str) -> Image:
    """Return the recipe of an image with Python packages: each build argument has those of a table of the versions."""
    arguments = {argument: versions.requirements(f"python.{table}") for argument, table in tables.items()}
    return Image(name, name, kept, base="python", arguments=arguments)


def _of_service(name: str, image: ServiceImage, versions: Versions) -> Iterator[Recipe]:
    """Yield the recipe of a service's image, and before it that of the programs in it."""
    programs = [f"go-{name}/{program}" for program in image.programs.split()]
    if programs:
        yield GoPrograms(f"go-{name}", f"go/{name}", Kept.AS_FILES)
    arguments = {"PACKAGES": versions.requirements(image.packages)} if image.packages else {}
    texts: dict[str, str] = {}
    if image.maven:
        [arguments["ARTIFACT"]] = [f"{name}:{version}" for name, version in versions.table(image.maven).items()]
        texts["settings.xml"] = maven_settings()
    yield Image(name, name, Kept.IN_DOCKER, base=image.base, arguments=arguments, parts=tuple(programs), texts=texts)


def _of_addon(name: str, image: ServiceImage, versions: Versions) -> Iterator[Recipe]:
    """Yield the recipes of an add-on's image; nodes pull it, so it is kept as what is pushed to the registry."""
    for recipe in _of_service(name, image, versions):
        if isinstance(recipe, Image):
            yield dataclasses.replace(recipe, kept=Kept.AS_LAYOUT)
        elif isinstance(recipe, GoPrograms):
            # The published image's tag is the version that the program then reports.
            version = {REPORTED_VERSION: image.published.partition("@")[0].rpartition(":v")[2]}
            yield dataclasses.replace(recipe, variables=version)


def _debian(suite: str) -> Debian:
    trusted = hashlib.sha256(certificates().read_bytes()).hexdigest()
    return Debian("debian", "debian", Kept.IN_DOCKER, suite=suite, certificates=trusted)


def _kubernetes_variables(version: str) -> dict[str, str]:
    """Return the variables that a release of Kubernetes sets, from which its programs report their version."""
    major, minor, _ = version.split(".")
    values = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return {f"{package}.{name}": value for package in packages for name, value in values.items()}
