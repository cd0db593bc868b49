"""The chart, whoever wrote it, and Helm, which renders and installs it."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.base.errors import HarnessError
from harness.base.shell import CommandError, run

CHART_NAME = "jupyterhub"
SPAWNER_KEY = r"hub.extraConfig.dynamicImageConfig\.py"
"""Where the custom spawner goes among the values, in the syntax of Helm's --set-file."""

RENDER_SECONDS = 60.0
CLUSTER_SECONDS = 180.0
PULL_SECONDS = 120.0

# What a caller's environment could say to send Helm to another cluster or to another store of releases.
ELSEWHERE = (
    "HELM_DRIVER",
    "HELM_KUBEAPISERVER",
    "HELM_KUBEASGROUPS",
    "HELM_KUBEASUSER",
    "HELM_KUBECAFILE",
    "HELM_KUBECONTEXT",
    "HELM_KUBEINSECURE_SKIP_TLS_VERIFY",
    "HELM_KUBETLS_SERVER_NAME",
    "HELM_KUBETOKEN",
)

Manifest = dict[str, Any]
# The loader in C reads a rendered chart ten times as fast; it comes with most wheels of PyYAML, not with all.
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ChartVersionError(HarnessError):
    """The repository answered, and has no such version of the chart."""


class ChartRepositoryError(HarnessError):
    """The repository did not answer, or not as a chart repository does."""


@dataclass(frozen=True)
class Chart:
    """An unpacked chart.

    Attributes:
        path: its directory, the one with Chart.yaml.
        version: as its Chart.yaml has it.
        origin: where it came from, for people: "built-in", "a checkout", "chart repository".
    """

    path: Path
    version: str
    origin: str


@dataclass(frozen=True)
class Release:
    """What is to be installed of a chart, and as what.

    Attributes:
        values: files, later wins.
        set_files: files whose text becomes a value, by that value's key in the syntax of Helm's --set-file.
        replaced: values by dotted key, each in place of all that the files have there, where a file would be merged.
    """

    name: str
    namespace: str
    values: tuple[Path, ...]
    set_files: Mapping[str, Path] = field(default_factory=dict)
    replaced: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        """The release's values as arguments for Helm."""
        given = [f"--values={path}" for path in self.values]
        # To Helm a bare comma starts the next key.
        for key, path in self.set_files.items():
            given.append(f"--set-file={key}=" + str(path).replace(",", r"\,"))
        given += [f"--set-json={key}={json.dumps(value)}" for key, value in self.replaced.items()]
        return given


def chart_directory(path: Path) -> Path:
    """Where the chart is in a directory that is one, or in a checkout of the upstream project.

    Raises:
        HarnessError: there is none.
    """
    for place in (path, path / CHART_NAME):
        if (place / "Chart.yaml").is_file():
            return place
    raise HarnessError(f"{path} is no chart: it has no Chart.yaml, nor has its directory {CHART_NAME}.")


def load_chart(path: Path, *, scratch: Path, origin: str = "a checkout") -> Chart:
    """The chart in a directory, or in the directory `jupyterhub` of a checkout of the upstream project.

    A checkout lacks what upstream's release tool adds. The schema is one such thing: it is generated from
    values.schema.yaml, into a copy under `scratch`, and the checkout stays as it is. Image tags are the other: there
    they read `set-by-chartpress`. Nothing is done about those, because the harness puts images into the cluster under
    whatever names the chart renders (see `images`).

    Raises:
        HarnessError: there is no chart, or its Chart.yaml or its schema cannot be read.
    """
    directory = chart_directory(path)
    about = _read_yaml(directory / "Chart.yaml")
    if not isinstance(about, dict) or about.get("name") != CHART_NAME or "version" not in about:
        raise HarnessError(f"{directory / 'Chart.yaml'}: expected a name, {CHART_NAME}, and a version.")
    if (directory / "values.schema.yaml").is_file() and not (directory / "values.schema.json").is_file():
        schema = _read_yaml(directory / "values.schema.yaml")
        copy = scratch / CHART_NAME
        shutil.rmtree(copy, ignore_errors=True)
        directory = Path(shutil.copytree(directory, copy))
        (directory / "values.schema.json").write_text(json.dumps(schema))
    return Chart(directory, str(about["version"]), origin)


@dataclass(frozen=True)
class Helm:
    """Helm, kept to one cluster.

    Attributes:
        kubeconfig: of that cluster; None for work that needs none.
        kubernetes: the version of Kubernetes that a chart is rendered for while no cluster is asked.
    """

    binary: Path
    kubeconfig: Path | None = None
    kubernetes: str = "1.34.0"

    def template(self, chart: Chart, release: Release) -> list[Manifest]:
        """The objects that a release would be, rendered without a cluster.

        Raises:
            HarnessError: the values are not what the chart accepts (the message names the key), or do not render.
        """
        args = ["template", release.name, str(chart.path), f"--namespace={release.namespace}", *release.arguments()]
        rendered = self._run(args, RENDER_SECONDS, f"rendering {release.name}", self._kube_version)
        return [manifest for manifest in yaml.load_all(rendered, Loader) if manifest]

    def lint(self, chart: Chart, release: Release) -> None:
        """See that Helm finds nothing wrong with the chart and a release's values.

        What the chart itself fails on passes: Helm turns that off while it lints. `template` does not.

        Raises:
            HarnessError: it does.
        """
        args = ["lint", str(chart.path), f"--namespace={release.namespace}", "--strict", *release.arguments()]
        self._run(args, RENDER_SECONDS, f"linting {release.name}", self._kube_version)

    def upgrade_install(self, chart: Chart, release: Release) -> None:
        """Bring a release into the cluster, or up to date there; its pods are still coming when this returns.

        A release that a killed Helm left half done is removed first: Helm itself would refuse it for ever.

        Raises:
            HarnessError: the values are not what the chart accepts, or the cluster refuses an object.
        """
        args = ["upgrade", "--install", release.name, str(chart.path), f"--namespace={release.namespace}"]
        args += ["--create-namespace", "--history-max=3", *release.arguments()]
        what = f"installing {release.name}"
        try:
            self._run(args, CLUSTER_SECONDS, what, self._cluster)
        except _HelmError as error:
            if "another operation" not in error.output:
                raise
            self.uninstall(release)
            self._run(args, CLUSTER_SECONDS, what, self._cluster)

    def uninstall(self, release: Release) -> None:
        """Remove a release and wait until its objects are gone; nothing happens where there is none.

        Raises:
            HarnessError: the cluster does not answer, or something does not go away.
        """
        args = ["uninstall", release.name, f"--namespace={release.namespace}", "--ignore-not-found", "--wait"]
        self._run(args, CLUSTER_SECONDS, f"removing {release.name}", self._cluster)

    def installed(self, release: Release) -> list[Manifest]:
        """The objects of a release as they were installed.

        Raises:
            HarnessError: the cluster has no such release.
        """
        args = ["get", "manifest", release.name, f"--namespace={release.namespace}"]
        stored = self._run(args, RENDER_SECONDS, f"reading {release.name}", self._cluster)
        return [manifest for manifest in yaml.load_all(stored, Loader) if manifest]

    def pull(self, repo_url: str, version: str, into: Path) -> Chart:
        """The chart from a Helm repository; `into` keeps it, so that a version is fetched once.

        Raises:
            ChartVersionError: the repository has no such version.
            ChartRepositoryError: it cannot be reached, or does not answer as a repository does.
        """
        kept = into / f"{CHART_NAME}-{version}"
        if not (kept / "Chart.yaml").is_file():
            into.mkdir(parents=True, exist_ok=True)
            # Unpacked beside its place and then moved there, so that a run that is killed leaves no half of a chart.
            with tempfile.TemporaryDirectory(dir=into) as scratch:
                args = ["pull", CHART_NAME, f"--repo={repo_url}", f"--version={version}", "--untar"]
                args += [f"--untardir={scratch}", f"--repository-cache={scratch}/cache"]
                try:
                    self._run(args, PULL_SECONDS, f"pulling {CHART_NAME} {version}")
                except _HelmError as error:
                    if f'version "{version}" not found' in error.output:
                        raise ChartVersionError(f"{repo_url} has no version {version} of {CHART_NAME}.") from error
                    raise ChartRepositoryError(f"{repo_url} gives no chart: {error.cause}") from error
                shutil.rmtree(kept, ignore_errors=True)
                (Path(scratch) / CHART_NAME).rename(kept)
        return load_chart(kept, scratch=into, origin="chart repository")

    def newest(self, repo_url: str) -> str:
        """The newest version of the chart in a Helm repository, pre-releases left out.

        Raises:
            ChartRepositoryError: it cannot be reached, or does not answer as a repository does.
        """
        # A cache of its own: what Helm remembers of the repository may be of yesterday.
        with tempfile.TemporaryDirectory() as scratch:
            args = ["show", "chart", CHART_NAME, f"--repo={repo_url}", f"--repository-cache={scratch}"]
            try:
                about = yaml.safe_load(self._run(args, PULL_SECONDS, f"asking for the newest {CHART_NAME}"))
            except _HelmError as error:
                raise ChartRepositoryError(f"{repo_url} gives no chart: {error.cause}") from error
        return str(about["version"])

    @property
    def _kube_version(self) -> tuple[str, ...]:
        return (f"--kube-version={self.kubernetes}",)

    @property
    def _cluster(self) -> tuple[str, ...]:
        if self.kubeconfig is None:
            raise HarnessError("Helm was given no cluster of its own, and does not touch any other.")
        return (f"--kubeconfig={self.kubeconfig}",)

    def _run(self, args: list[str], timeout: float, what: str, more: Iterable[str] = ()) -> str:
        env = dict.fromkeys(ELSEWHERE, "") | {"KUBECONFIG": os.devnull}
        try:
            return run([self.binary, *args, *more], timeout=timeout, env=env, what=what)
        except CommandError as error:
            raise _HelmError(what, error) from error


class _HelmError(HarnessError):
    """Helm failed; `cause` is the essential line of what it said, `output` all of it."""

    def __init__(self, what: str, error: CommandError) -> None:
        self.output = error.output
        self.cause = _cause(error.output) or str(error)
        super().__init__(f"{what}: {self.cause}")


def _cause(output: str) -> str:
    """What is wrong, out of all that Helm said: the schema's complaints where there are any, its error otherwise."""
    complaints = re.findall(r"^\s*- (at '.*)$", output, re.MULTILINE)
    leaves = [line for line in complaints if not line.endswith(("validation failed", "none matched"))]
    if leaves:
        return "values rejected: " + "; ".join(leaves[:3])
    errors = re.findall(r"^(?:Error|\[ERROR\])[ :]+(.*)$", output, re.MULTILINE)
    # A linter counts its findings in its last line and says in the first what they are.
    return errors[0] if errors else ""


def images(manifests: Iterable[Manifest]) -> set[str]:
    """Every image that the objects of a release run, and the one that the hub runs for its users by default.

    A spawner may run others: which, only the spawner knows.
    """
    manifests = list(manifests)
    found = {container["image"] for manifest in manifests for container in containers(manifest)}
    singleuser = hub_values(manifests).get("singleuser", {})
    given = [singleuser.get("image")]
    if singleuser.get("cloudMetadata", {}).get("blockWithIptables"):
        given.append(singleuser.get("networkTools", {}).get("image"))
    return found | {f"{image['name']}:{image['tag']}" for image in given if image}


def containers(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """The containers of a pod, or of what makes pods, those that run first being first."""
    spec = manifest.get("spec") or {}
    pod = spec.get("template", {}).get("spec") or spec
    for kind in ("initContainers", "containers"):
        yield from pod.get(kind) or ()


def variables(values: Mapping[str, Any]) -> dict[str, Any]:
    """The environment that `extraEnv` of `hub` or `singleuser` sets: by name a text, or where the value is from.

    The chart takes a mapping by name, and a list as a pod has it.
    """
    given = values.get("extraEnv") or {}
    if isinstance(given, list):
        return {each["name"]: each.get("value", each) for each in given}
    return dict(given)


def hub_values(manifests: Iterable[Manifest]) -> dict[str, Any]:
    """The values as a release's hub gets them, the chart's defaults among them; none where there is no hub."""
    for manifest in manifests:
        if manifest["kind"] == "Secret" and "values.yaml" in (manifest.get("data") or {}):
            return dict(yaml.load(base64.b64decode(manifest["data"]["values.yaml"]), Loader))
    return {}


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise HarnessError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from error
