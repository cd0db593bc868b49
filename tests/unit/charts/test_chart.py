"""The chart module: charts found and refused, Helm called as it should be and its errors made short.

What needs a real Helm takes the one that lint and e2e runs build.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness.artifacts.build import helm_path
from harness.base.errors import HarnessError
from harness.charts.chart import SPAWNER_KEY, Chart, Release, load_chart
from harness.charts.helm import ChartRepositoryError, ChartVersionError, Helm
from harness.charts.manifests import containers, hub_values, images
from harness.plan.plan import default_cache
from harness.plan.versions import read_versions

ROOT = Path(__file__).parents[3]
BUILTIN = ROOT / "helm/jupyterhub"
SPAWNER = ROOT / "helm/spawner/dynamicImageConfig.py"
COURSE_IMAGES = "610119931565.dkr.ecr.us-east-1.amazonaws.com/ol-course-notebooks"


def release(name: str, namespace: str, *files: Path) -> Release:
    return Release(name, namespace, files, {SPAWNER_KEY: SPAWNER})


STUDENT = release("jupyterhub", "jupyter", ROOT / "helm/values/production.yaml")
AUTHORING = release("jupyterhub-authoring", "jupyter-authoring", ROOT / "helm/values/authoring.yaml")


@pytest.fixture
def helm() -> Helm:
    binary = helm_path(read_versions(), default_cache(os.environ))
    if not binary.exists():
        pytest.skip("no Helm in the cache yet: 'tox -e lint' and 'tox -e e2e' build it")
    return Helm(binary)


@pytest.fixture
def builtin(tmp_path: Path) -> Chart:
    return load_chart(BUILTIN, scratch=tmp_path, origin="built-in")


@pytest.fixture
def upstream_checkout(tmp_path: Path) -> Path:
    """A checkout in the upstream project's form: the chart one directory down, its schema still YAML."""
    chart = tmp_path / "checkout/jupyterhub"
    chart.mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: jupyterhub\nversion: 0.0.1-set.by.chartpress\n")
    (chart / "values.schema.yaml").write_text("type: object\nadditionalProperties: false\n")
    return tmp_path / "checkout"


def fake_helm(tmp_path: Path, script: str) -> Helm:
    """A Helm that writes down its arguments, a line a call, and then does as the script says."""
    binary = tmp_path / "helm"
    binary.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{script}\n')
    binary.chmod(0o755)
    return Helm(binary, tmp_path / "kubeconfig")


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


def one(manifests: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    [found] = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return found


class TestLoadChart:
    def test_builtin(self, builtin: Chart) -> None:
        assert (builtin.path, builtin.version, builtin.origin) == (BUILTIN, "4.4.1", "built-in")

    def test_checkout_gets_its_schema_in_a_copy(self, upstream_checkout: Path, tmp_path: Path) -> None:
        chart = load_chart(upstream_checkout, scratch=tmp_path / "scratch")
        assert chart.version == "0.0.1-set.by.chartpress"
        assert (chart.path / "values.schema.json").read_text() == '{"type": "object", "additionalProperties": false}'
        assert not (upstream_checkout / "jupyterhub/values.schema.json").exists()

    def test_checkout_with_a_broken_schema(self, upstream_checkout: Path, tmp_path: Path) -> None:
        (upstream_checkout / "jupyterhub/values.schema.yaml").write_text("a: [")
        with pytest.raises(HarnessError, match=r"values\.schema\.yaml: cannot be read as YAML"):
            load_chart(upstream_checkout, scratch=tmp_path / "scratch")

    def test_no_chart(self, tmp_path: Path) -> None:
        with pytest.raises(HarnessError, match=r"is no chart: it has no Chart\.yaml"):
            load_chart(tmp_path / "nowhere", scratch=tmp_path)

    @pytest.mark.parametrize("about", ["name: nginx\nversion: 1.0.0\n", "name: jupyterhub\n", "- a list\n"])
    def test_another_chart(self, tmp_path: Path, about: str) -> None:
        (tmp_path / "Chart.yaml").write_text(about)
        with pytest.raises(HarnessError, match="expected a name, jupyterhub, and a version"):
            load_chart(tmp_path, scratch=tmp_path / "scratch")


class TestCalls:
    def test_install_goes_to_its_own_cluster(
        self, builtin: Chart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KUBECONFIG", "/somebody/elses")
        monkeypatch.setenv("HELM_KUBEAPISERVER", "https://production")
        helm = fake_helm(tmp_path, f'echo "$KUBECONFIG $HELM_KUBEAPISERVER" >> {tmp_path}/calls')
        helm.upgrade_install(builtin, STUDENT)
        call, environment = calls(tmp_path)
        assert call.startswith(f"upgrade --install jupyterhub {BUILTIN} --namespace=jupyter ")
        assert call.endswith(f"--kubeconfig={tmp_path}/kubeconfig")
        assert rf"--set-file=hub.extraConfig.dynamicImageConfig\.py={SPAWNER}" in call
        assert environment.strip() == os.devnull

    def test_no_cluster_of_its_own(self, builtin: Chart) -> None:
        with pytest.raises(HarnessError, match="no cluster of its own"):
            Helm(Path("helm")).upgrade_install(builtin, STUDENT)

    def test_what_a_killed_helm_left_is_removed(self, builtin: Chart, tmp_path: Path) -> None:
        busy = "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress"
        script = f'[ "$1" = uninstall ] || [ $(wc -l < {tmp_path}/calls) != 1 ] || {{ echo "{busy}" >&2; exit 1; }}'
        fake_helm(tmp_path, script).upgrade_install(builtin, STUDENT)
        assert [call.split()[0] for call in calls(tmp_path)] == ["upgrade", "uninstall", "upgrade"]

    def test_a_comma_in_a_path(self, tmp_path: Path) -> None:
        given = Release("a", "b", (), {"key": tmp_path / "one,two"}).arguments()
        assert given == [f"--set-file=key={tmp_path}/one\\,two"]

    def test_what_is_replaced(self) -> None:
        given = Release("a", "b", (), {}, {"key.inner": {"name": "x, y", "number": 1}}).arguments()
        assert given == ['--set-json=key.inner={"name": "x, y", "number": 1}']

    def test_the_error_is_one_line(self, builtin: Chart, tmp_path: Path) -> None:
        helm = fake_helm(tmp_path, 'echo "Error: the cluster said no\n\nUse --debug flag" >&2; exit 1')
        with pytest.raises(HarnessError, match=r"\Ainstalling jupyterhub: the cluster said no\Z"):
            helm.upgrade_install(builtin, STUDENT)

    def test_no_helm(self, builtin: Chart, tmp_path: Path) -> None:
        with pytest.raises(HarnessError, match="cannot be started"):
            Helm(tmp_path / "nowhere").template(builtin, STUDENT)


class TestPull:
    UNPACK = 'for a; do case $a in --untardir=*) into=${{a#*=}};; esac; done; cp -r {chart} "$into/jupyterhub"'

    def test_once(self, tmp_path: Path) -> None:
        helm = fake_helm(tmp_path, self.UNPACK.format(chart=BUILTIN))
        for _ in range(2):
            chart = helm.pull("https://charts.example", "4.4.1", tmp_path / "into")
            assert (chart.version, chart.origin) == ("4.4.1", "chart repository")
            assert chart.path == tmp_path / "into/jupyterhub-4.4.1"
        assert len(calls(tmp_path)) == 1
        assert [path.name for path in (tmp_path / "into").iterdir()] == ["jupyterhub-4.4.1"]

    def test_another_chart(self, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.mkdir()
        (other / "Chart.yaml").write_text("{name: apisix, version: 2.16.1}")
        helm = fake_helm(tmp_path, self.UNPACK.format(chart=other).replace("/jupyterhub", "/apisix"))
        chart = helm.pull("https://charts.example", "2.16.1", tmp_path / "into", "apisix")
        assert (chart.path, chart.version) == (tmp_path / "into/apisix-2.16.1", "2.16.1")
        assert calls(tmp_path)[0].startswith("pull apisix --repo=https://charts.example --version=2.16.1 ")
        (chart.path / "Chart.yaml").write_text("{name: jupyterhub, version: 2.16.1}")
        with pytest.raises(HarnessError, match="expected a name, apisix, and a version"):
            helm.pull("https://charts.example", "2.16.1", tmp_path / "into", "apisix")

    def test_no_such_version(self, tmp_path: Path) -> None:
        output = r"Error: chart \"jupyterhub\" version \"9.9.9\" not found in https://charts.example repository"
        helm = fake_helm(tmp_path, f'echo "{output}" >&2; exit 1')
        with pytest.raises(ChartVersionError, match=r"https://charts\.example has no version 9\.9\.9 of jupyterhub\."):
            helm.pull("https://charts.example", "9.9.9", tmp_path / "into")

    def test_unreachable(self, tmp_path: Path) -> None:
        output = (
            "Error: looks like https://charts.example is not a valid chart repository or cannot be reached: refused"
        )
        helm = fake_helm(tmp_path, f'echo "{output}" >&2; exit 1')
        with pytest.raises(ChartRepositoryError, match="cannot be reached: refused"):
            helm.pull("https://charts.example", "4.4.1", tmp_path / "into")

    def test_newest(self, tmp_path: Path) -> None:
        helm = fake_helm(tmp_path, "printf 'name: jupyterhub\nversion: 4.10.0\n'")
        assert helm.newest("https://charts.example") == "4.10.0"
        assert calls(tmp_path)[0].startswith("show chart jupyterhub --repo=https://charts.example --repository-cache=")

    def test_newest_of_an_unreachable_one(self, tmp_path: Path) -> None:
        helm = fake_helm(tmp_path, 'echo "Error: https://charts.example cannot be reached: refused" >&2; exit 1')
        with pytest.raises(ChartRepositoryError, match="cannot be reached: refused"):
            helm.newest("https://charts.example")

    def test_a_real_refusal(self, helm: Helm, tmp_path: Path) -> None:
        # Port 9 of the loopback: nobody listens there.
        with pytest.raises(ChartRepositoryError, match="cannot be reached"):
            helm.pull("http://127.0.0.1:9", "4.4.1", tmp_path / "into")


class TestBuiltinChart:
    @pytest.mark.parametrize("wanted", [STUDENT, AUTHORING], ids=lambda wanted: wanted.name)
    def test_lint(self, helm: Helm, builtin: Chart, wanted: Release) -> None:
        helm.lint(builtin, wanted)

    @pytest.mark.parametrize(
        ("values", "complaint"),
        [
            ("cull: {timout: 900}", "values rejected: at '/cull': additional properties 'timout' not allowed"),
            ("singleuser: {image: {pullPolicy: always}}", "at '/singleuser/image/pullPolicy': value must be one of"),
            ("prePuller: {hook: {enabled: true}}", "set prePuller.hook.enabled to false"),
            ("singleuser: {storage: {type: dynamic}}", "set singleuser.storage.type to none"),
            ("hub: {db: {type: sqlite-pvc}}", "set hub.db.type to postgres or sqlite-memory"),
            ("ingress: {enabled: true}", "set ingress.enabled to false"),
            ("hub: {extraFiles: {a: {mountPath: /a.ini, data: {b: 1}}}}", "its mountPath must end in .json"),
        ],
    )
    def test_rejects(self, helm: Helm, builtin: Chart, tmp_path: Path, values: str, complaint: str) -> None:
        (tmp_path / "values.yaml").write_text(values)
        wanted = release("jupyterhub", "jupyter", *STUDENT.values, tmp_path / "values.yaml")
        with pytest.raises(HarnessError) as refusal:
            helm.template(builtin, wanted)
        assert complaint in str(refusal.value)
        assert "\n" not in str(refusal.value)

    @pytest.mark.parametrize(
        ("values", "keys"),
        [
            ("hub: {b: 1, a: 2}\nprePuller: {hook: {c: 1}}\nd: 1", ["d", "hub.a", "hub.b", "prePuller.hook.c"]),
            ("hub: {a: 1, db: {upgrade: perhaps}}", None),
        ],
        ids=["unknown keys alone", "and a value of another type"],
    )
    def test_unknown_keys_are_named(
        self, helm: Helm, builtin: Chart, tmp_path: Path, values: str, keys: list[str] | None
    ) -> None:
        (tmp_path / "values.yaml").write_text(values)
        with pytest.raises(HarnessError) as refusal:
            helm.template(builtin, release("jupyterhub", "jupyter", *STUDENT.values, tmp_path / "values.yaml"))
        assert getattr(refusal.value, "keys", None) == keys

    def test_lint_rejects_an_unknown_key(self, helm: Helm, builtin: Chart, tmp_path: Path) -> None:
        (tmp_path / "values.yaml").write_text("nonsense: 1")
        with pytest.raises(HarnessError, match=r"linting jupyterhub: values rejected: .*'nonsense' not allowed"):
            helm.lint(builtin, release("jupyterhub", "jupyter", *STUDENT.values, tmp_path / "values.yaml"))

    def test_images(self, helm: Helm, builtin: Chart) -> None:
        student = images(helm.template(builtin, STUDENT))
        assert len([image for image in student if image.startswith(COURSE_IMAGES)]) == 32
        assert {image.rpartition(":")[0] for image in student} == {
            COURSE_IMAGES,
            "quay.io/jupyterhub/configurable-http-proxy",
            "quay.io/jupyterhub/k8s-hub",
            "registry.k8s.io/kube-scheduler",
            "registry.k8s.io/pause",
        }
        # No puller there: only the hub knows it.
        assert f"{COURSE_IMAGES}:clustering_and_descriptive_ai" in images(helm.template(builtin, AUTHORING))

    def test_the_hub_gets_the_spawner(self, helm: Helm, builtin: Chart) -> None:
        values = hub_values(helm.template(builtin, STUDENT))
        assert values["hub"]["extraConfig"] == {"dynamicImageConfig.py": SPAWNER.read_text()}

    def test_an_edited_spawner_restarts_the_hub_alone(self, helm: Helm, builtin: Chart, tmp_path: Path) -> None:
        (tmp_path / "spawner.py").write_text("edited = True\n")
        edited = Release(STUDENT.name, STUDENT.namespace, STUDENT.values, {SPAWNER_KEY: tmp_path / "spawner.py"})
        first, again, other = (helm.template(builtin, wanted) for wanted in (STUDENT, STUDENT, edited))

        def pod(manifests: list[dict[str, Any]], name: str) -> Any:
            return one(manifests, "Deployment", name)["spec"]["template"]

        assert pod(first, "hub") == pod(again, "hub") != pod(other, "hub")
        for name in ("proxy", "user-scheduler"):
            assert pod(first, name) == pod(other, name)

    def test_an_admin_service(self, helm: Helm, builtin: Chart, tmp_path: Path) -> None:
        (tmp_path / "values.yaml").write_text(
            "hub: {services: {harness: {apiToken: c2VjcmV0}}, loadRoles: {harness: {services: [harness], scopes: []}}}"
        )
        wanted = release("jupyterhub", "jupyter", *STUDENT.values, tmp_path / "values.yaml")
        secret = one(helm.template(builtin, wanted), "Secret", "hub")
        assert secret["data"]["hub.services.harness.apiToken"] == "YzJWamNtVjA="

    def test_environment_as_a_list(self, helm: Helm, builtin: Chart, tmp_path: Path) -> None:
        """The form in which production's own values have it."""
        given = [{"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "creds", "key": "url"}}}]
        (tmp_path / "values.yaml").write_text(f"hub: {{extraEnv: {given}}}")
        wanted = release("jupyterhub", "jupyter", *STUDENT.values, tmp_path / "values.yaml")
        [hub] = containers(one(helm.template(builtin, wanted), "Deployment", "hub"))
        assert given[0] in hub["env"]
