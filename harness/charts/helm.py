"""Helm, which renders and installs the chart."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from harness.base.errors import HarnessError
from harness.base.shell import CommandError, run
from harness.charts.chart import CHART_NAME, Chart, Release, load_chart
from harness.charts.manifests import Loader, Manifest

RENDER_SECONDS = 60.0
CLUSTER_SECONDS = 180.0
PULL_SECONDS = 120.0
# Variables that would send Helm to another cluster or to another store of releases.
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


class ChartVersionError(HarnessError):
    """The repository answers, and does not have that version of the chart."""


class UnknownValuesError(HarnessError):
    """The chart's schema does not know some keys of the values, and has nothing else against them.

    Attributes:
        keys: dotted, sorted.
    """

    def __init__(self, message: str, keys: list[str]) -> None:
        self.keys = keys
        super().__init__(message)


class ChartRepositoryError(HarnessError):
    """The repository does not answer, or is no chart repository."""


@dataclass(frozen=True)
class Helm:
    """Helm, kept to one cluster.

    Attributes:
        kubeconfig: the cluster's; None for work that needs no cluster.
        kubernetes: the version of Kubernetes that a chart is rendered for without a cluster.
    """

    binary: Path
    kubeconfig: Path | None = None
    kubernetes: str = "1.34.0"

    def template(self, chart: Chart, release: Release) -> list[Manifest]:
        """Render a release without a cluster, and return its objects.

        Raises:
            UnknownValuesError: they have keys that the chart's schema does not know.
            HarnessError: the values are not what the chart accepts (the message names the key), or do not render.
        """
        args = ["template", release.name, str(chart.path), f"--namespace={release.namespace}", *release.arguments()]
        try:
            rendered = self._run(args, RENDER_SECONDS, f"rendering {release.name}", self._kube_version)
        except _HelmError as error:
            if keys := _unknown_keys(error.output):
                raise UnknownValuesError(str(error), keys) from error
            raise
        return [manifest for manifest in yaml.load_all(rendered, Loader) if manifest]

    def lint(self, chart: Chart, release: Release) -> None:
        """Lint the chart with a release's values.

        The chart's own checks (`fail`) are off while Helm lints; `template` has them on.

        Raises:
            HarnessError: Helm finds something wrong.
        """
        args = ["lint", str(chart.path), f"--namespace={release.namespace}", "--strict", *release.arguments()]
        self._run(args, RENDER_SECONDS, f"linting {release.name}", self._kube_version)

    def upgrade_install(self, chart: Chart, release: Release) -> None:
        """Install a release, or upgrade it, without waiting for its pods.

        A release that a killed Helm left half done is removed first: Helm would refuse every further upgrade of it.

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
        """Remove a release, if there is one, and wait until its objects are gone.

        Raises:
            HarnessError: the cluster does not answer, or an object stays.
        """
        args = ["uninstall", release.name, f"--namespace={release.namespace}", "--ignore-not-found", "--wait"]
        self._run(args, CLUSTER_SECONDS, f"removing {release.name}", self._cluster)

    def installed(self, release: Release) -> list[Manifest]:
        """Return the objects of a release as they were installed.

        Raises:
            HarnessError: the cluster has no such release.
        """
        args = ["get", "manifest", release.name, f"--namespace={release.namespace}"]
        stored = self._run(args, RENDER_SECONDS, f"reading {release.name}", self._cluster)
        return [manifest for manifest in yaml.load_all(stored, Loader) if manifest]

    def pull(self, repo_url: str, version: str, into: Path, name: str = CHART_NAME) -> Chart:
        """Return a chart of a Helm repository; `into` keeps it, so that each version is fetched once.

        Raises:
            ChartVersionError: the repository has no such version.
            ChartRepositoryError: it cannot be reached, or does not answer as a repository does.
        """
        kept = into / f"{name}-{version}"
        if not (kept / "Chart.yaml").is_file():
            into.mkdir(parents=True, exist_ok=True)
            # Unpacked elsewhere and then moved, so that a run that is killed leaves no half of a chart.
            with tempfile.TemporaryDirectory(dir=into) as scratch:
                args = ["pull", name, f"--repo={repo_url}", f"--version={version}", "--untar"]
                args += [f"--untardir={scratch}", f"--repository-cache={scratch}/cache"]
                try:
                    self._run(args, PULL_SECONDS, f"pulling {name} {version}")
                except _HelmError as error:
                    if f'version "{version}" not found' in error.output:
                        raise ChartVersionError(f"{repo_url} has no version {version} of {name}.") from error
                    raise ChartRepositoryError(f"{repo_url} gives no chart: {error.cause}") from error
                shutil.rmtree(kept, ignore_errors=True)
                (Path(scratch) / name).rename(kept)
        return load_chart(kept, scratch=into, origin="chart repository", name=name)

    def newest(self, repo_url: str) -> str:
        """Return the newest version of the chart in a Helm repository, without pre-releases.

        Raises:
            ChartRepositoryError: it cannot be reached, or does not answer as a repository does.
        """
        # A cache of its own: Helm's index of the repository may be old.
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
            raise HarnessError("Helm was given no cluster of its own, and uses no other.")
        return (f"--kubeconfig={self.kubeconfig}",)

    def _run(self, args: list[str], timeout: float, what: str, more: Iterable[str] = ()) -> str:
        env = dict.fromkeys(ELSEWHERE, "") | {"KUBECONFIG": os.devnull}
        try:
            return run([self.binary, *args, *more], timeout=timeout, env=env, what=what)
        except CommandError as error:
            raise _HelmError(what, error) from error


class _HelmError(HarnessError):
    """Helm failed; `cause` is the essential line of its output, `output` all of it."""

    def __init__(self, what: str, error: CommandError) -> None:
        self.output = error.output
        self.cause = _cause(error.output) or str(error)
        super().__init__(f"{what}: {self.cause}")


def _complaints(output: str) -> list[str]:
    """Return what a schema has against values, without the lines that only sum up others."""
    lines = re.findall(r"^\s*- (at '.*)$", output, re.MULTILINE)
    return [line for line in lines if not line.endswith(("validation failed", "none matched"))]


def _unknown_keys(output: str) -> list[str]:
    """Return the keys that a schema does not know, dotted; none where it has anything else against the values."""
    unknown = []
    for complaint in _complaints(output):
        found = re.fullmatch(r"at '(.*?)': additional propert(?:y|ies) (.*) not allowed", complaint)
        if not found:
            return []
        place = found[1].split("/")[1:]
        unknown += [".".join([*place, key]) for key in re.findall(r"'([^']+)'", found[2])]
    return sorted(unknown)


def _cause(output: str) -> str:
    """Return what is wrong of all that Helm wrote: the schema's complaints if there are any, its error otherwise."""
    if leaves := _complaints(output):
        return "values rejected: " + "; ".join(leaves[:3])
    errors = re.findall(r"^(?:Error|\[ERROR\])[ :]+(.*)$", output, re.MULTILINE)
    # `helm lint` has its findings first, and their number in the last line.
    return errors[0] if errors else ""
