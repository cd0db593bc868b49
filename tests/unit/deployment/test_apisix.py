"""APISIX's inputs, of an evaluated program, and the order in which a copy is given them. It was never run."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import yaml

from harness.base.errors import HarnessError
from harness.base.names import Names
from harness.base.progress import Steps
from harness.base.wait import NotYet
from harness.charts.chart import Chart, Release
from harness.deployment import apisix
from harness.deployment.apisix import AUTHORITY, AUTHORITY_FILE, NAMESPACE, RELEASE, apisix_inputs, start_apisix
from harness.deployment.releases import APISIX_ADMIN, APISIX_SESSION, APISIX_VIEWER, create_secrets, read_secrets
from harness.host import docker
from harness.plan.contract import SSO_HOST
from harness.plan.hubs import GATE_HTTP_NODE_PORT, GATE_HTTPS_NODE_PORT
from harness.plan.plan import Plan
from harness.plan.versions import IMAGES, read_versions
from harness.services.authority import Certificate
from harness.services.keycloak import Keycloak
from tests.unit.fakes import greet
from tests.unit.program.apisix_resources import HOST, LOGIN, SPECS, TEMPLATES, changed, program_of

SECRET = {APISIX_ADMIN: "the key of the admin", APISIX_VIEWER: "that of the viewer", APISIX_SESSION: "s" * 64}
VALUES: dict[str, Any] = yaml.safe_load((IMAGES.parent / apisix.VALUES).read_text())


@pytest.fixture
def keycloak(tmp_path: Path) -> Keycloak:
    """A Keycloak that is known to the run, and does not run."""
    return Keycloak("jh-1", tmp_path / "state")


def secrets_of(keycloak: Keycloak, **program: Any) -> dict[tuple[str, str], dict[str, str]]:
    """The content of each Secret that APISIX is given, by namespace and name."""
    made = apisix_inputs(program_of(**program), SECRET, keycloak).secrets
    return {(place, each["metadata"]["name"]): each["stringData"] for place, all_ in made.items() for each in all_}


class TestSecrets:
    def test_login_is_what_vault_would_make(self, keycloak: Keycloak) -> None:
        assert secrets_of(keycloak)["jupyter", LOGIN] == {
            "client_id": "ol-mitlearn-client",
            "client_secret": keycloak.client_secret,
            "realm": "olapps",
            "discovery": f"https://{SSO_HOST}/realms/olapps/.well-known/openid-configuration",
            "session.secret": SECRET[APISIX_SESSION],
        }

    def test_only_those_of_routes_are_made(self, keycloak: Keycloak) -> None:
        assert ("jupyter", "database") not in secrets_of(keycloak, target="database")

    def test_one_that_asks_for_what_vault_lacks_is_named(self, keycloak: Keycloak) -> None:
        with pytest.raises(HarnessError) as refused:
            secrets_of(keycloak, templates={**TEMPLATES, "realm": '{{ get .Secrets "realm" }}'})
        assert str(refused.value) == (
            "src/here.py, line 7: realm of the Secret oidc-secrets asks Vault for realm at secret-operations/"
            "sso/mitlearn, expected one of client_id, client_secret, realm_id, realm_name, secret, url"
        )

    def test_certificate_is_the_runs_own_and_for_the_hosts(self, keycloak: Keycloak, tmp_path: Path) -> None:
        made = apisix_inputs(program_of(), SECRET, keycloak).secrets["jupyter"]
        [pair] = [each for each in made if each.get("type") == "kubernetes.io/tls"]
        assert pair["metadata"]["name"] == SPECS["ApisixTls"]["secret"]["name"]
        chain, key = tmp_path / "tls.crt", tmp_path / "tls.key"
        for file in (chain, key):
            file.write_text(pair["stringData"][file.name])
        greet(Certificate(chain, key), HOST, Names({}, keycloak.authority.certificate))

    def test_keycloak_is_trusted_by_the_runs_authority(self, keycloak: Keycloak) -> None:
        trusted = secrets_of(keycloak)[NAMESPACE, AUTHORITY]
        assert trusted == {AUTHORITY_FILE: keycloak.authority.certificate.read_text()}
        ssl = VALUES["apisix"]["ssl"]
        assert (ssl["existingCASecret"], ssl["certCAFilename"]) == (AUTHORITY, AUTHORITY_FILE)


class TestValues:
    def test_run_decides_ports_keys_and_plugins(self, keycloak: Keycloak) -> None:
        found = apisix_inputs(program_of(), SECRET, keycloak).values
        service = found["service"]
        assert (service["http"]["nodePort"], service["tls"]["nodePort"]) == (GATE_HTTP_NODE_PORT, GATE_HTTPS_NODE_PORT)
        assert found["apisix"]["plugins"] == ["openid-connect", "redirect"]
        keys = found["apisix"]["admin"]["credentials"]
        assert keys == {"admin": SECRET[APISIX_ADMIN], "viewer": SECRET[APISIX_VIEWER]}
        control_plane = found["ingress-controller"]["gatewayProxy"]["provider"]["controlPlane"]
        assert control_plane["auth"]["adminKey"]["value"] == keys["admin"]

    def test_plugin_that_only_routes_share_is_switched_on_too(self, keycloak: Keycloak) -> None:
        more = changed("ApisixPluginConfig", "plugins", [{"name": "opentelemetry", "enable": True}])
        found = apisix_inputs(program_of(more), SECRET, keycloak).values
        assert found["apisix"]["plugins"] == ["openid-connect", "opentelemetry"]

    def test_our_own_are_productions(self) -> None:
        """As infrastructure/aws/eks/apisix_official.py has them at 2bf5bca37."""
        controller = VALUES["ingress-controller"]
        assert VALUES["apisix"]["deployment"]["role_traditional"] == {"config_provider": "yaml"}
        assert controller["config"]["provider"] == {"type": "apisix-standalone"}
        assert controller["config"]["kubernetes"] == {"ingressClass": "apache-apisix"}
        assert controller["gatewayProxy"]["provider"]["controlPlane"]["service"]["name"] == f"{RELEASE}-admin"
        assert VALUES["etcd"] == {"enabled": False}
        assert "large_client_header_buffers 4 64k;" in VALUES["apisix"]["nginx"]["configurationSnippet"]["httpStart"]

    def test_chart_is_productions(self) -> None:
        """As APISIX_CHART_VERSION of the owners' versions.py has it at 2bf5bca37."""
        assert read_versions().get("published.charts.apisix", "version") == "2.16.1"

    def test_keys_are_among_the_runs_secrets(self, tmp_path: Path) -> None:
        create_secrets(tmp_path / "secrets.json")
        made = read_secrets(tmp_path / "secrets.json")
        assert len({made[name] for name in SECRET}) == len(SECRET)


class Parts:
    """A cluster and Helm that note what is asked of them."""

    control_plane = "jh-1-control-plane"

    def __init__(self) -> None:
        self.done: list[str] = []
        self.release: Release | None = None

    def wait(self, what: str) -> bool:
        self.done.append(f"wait for {what}")
        return True

    def apply(self, namespace: str, *objects: Any) -> None:
        self.done.append(f"apply in {namespace}: {', '.join(each['kind'] for each in objects)}")

    def kubectl(self, *args: str) -> str:
        self.done.append(f"kubectl {' '.join(args)}")
        return ""

    def pull(self, repository: str, version: str, into: Path, name: str) -> Chart:
        self.done.append(f"pull {name} {version} from {repository}")
        return Chart(into / name, version, "chart repository")

    def upgrade_install(self, chart: Chart, release: Release) -> None:
        self.done.append(f"install {release.name} in {release.namespace}")
        self.release = release


class TestStart:
    @pytest.fixture
    def parts(self, monkeypatch: pytest.MonkeyPatch) -> Parts:
        parts = Parts()
        monkeypatch.setattr(apisix, "wait_until_ready", lambda cluster, place: parts.wait(place))
        monkeypatch.setattr(apisix, "_is_routed", lambda names, host: parts.wait(host))
        monkeypatch.setattr(docker, "published", lambda name, port: f"127.0.0.1:{port}")
        return parts

    def start(self, parts: Parts, plan: Plan, steps: Steps) -> Any:
        create_secrets(plan.secrets)
        running: Any = SimpleNamespace(plan=plan, cluster=parts, helm=parts)
        return start_apisix(running, program_of(), Keycloak("jh-1", plan.state), steps)

    def test_what_others_refer_to_comes_first(self, parts: Parts, planned: Callable[..., Plan], steps: Steps) -> None:
        self.start(parts, planned(), steps)
        assert parts.done == [
            "pull apisix 2.16.1 from https://apache.github.io/apisix-helm-chart",
            "apply in operations: Secret",
            "apply in jupyter: Secret, Secret",
            "install apache-apisix in operations",
            "kubectl --namespace jupyter delete apisixroutes,apisixpluginconfigs,apisixtlses --all",
            "apply in jupyter: ApisixPluginConfig, ApisixTls, ApisixRoute",
            "wait for operations",
            f"wait for {HOST}",
        ]

    def test_chart_comes_from_the_mirror(self, parts: Parts, planned: Callable[..., Plan], steps: Steps) -> None:
        self.start(parts, planned(mirror="charts=https://charts.example"), steps)
        assert parts.done[0] == "pull apisix 2.16.1 from https://charts.example"

    def test_keys_are_in_a_file_for_the_run_alone(
        self, parts: Parts, planned: Callable[..., Plan], steps: Steps
    ) -> None:
        plan = planned()
        self.start(parts, plan, steps)
        assert parts.release
        ours, decided = parts.release.values
        assert ours == plan.checkout / "helm/values/apisix.yaml"
        assert decided.parent == plan.state
        assert stat.S_IMODE(decided.stat().st_mode) == 0o600
        admin = read_secrets(plan.secrets)[APISIX_ADMIN]
        assert yaml.safe_load(decided.read_text())["apisix"]["admin"]["credentials"]["admin"] == admin

    def test_names_lead_to_the_nodes_ports(self, parts: Parts, planned: Callable[..., Plan], steps: Steps) -> None:
        names = self.start(parts, planned(), steps)
        assert names.place(HOST, 443) == ("127.0.0.1", GATE_HTTPS_NODE_PORT)
        assert names.place(HOST, 80) == ("127.0.0.1", GATE_HTTP_NODE_PORT)
        assert names.place(SSO_HOST, 443) == ("127.0.0.1", 443)


@pytest.mark.parametrize(("status", "routed"), [(302, True), (500, True), (404, False)])
def test_a_host_is_routed_once_it_is_no_longer_unknown(
    status: int, routed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: Any = SimpleNamespace(transport=lambda: httpx.MockTransport(lambda request: httpx.Response(status)))
    found = apisix._is_routed(names, HOST)
    assert (found is True) is routed
    assert routed or isinstance(found, NotYet)
