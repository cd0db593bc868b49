"""Keycloak's realms, as their files have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import HarnessError
from harness.plan.contract import GATED_HOSTS, OTHER_GATED_HOSTS, SSO_CLIENT, SSO_REALM
from harness.services import keycloak


@pytest.fixture(autouse=True)
def _read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    keycloak._realm.cache_clear()


def test_every_password_is_a_secret_of_the_run() -> None:
    secrets = keycloak.secrets()
    assert {"throwaway-password-of-ada", "throwaway-secret-of-the-olapps-client"} <= secrets
    assert all(len(secret) > 20 for secret in secrets), "a short one would black out words of a log"


def test_people_may_come_back_to_both_hubs() -> None:
    """As the owners' patterns have it: one wildcard a host."""
    [client] = [each for each in keycloak._realm(SSO_REALM)["clients"] if each["clientId"] == SSO_CLIENT]
    wanted = {f"https://{host}/*" for host in (*GATED_HOSTS.values(), *OTHER_GATED_HOSTS)}
    assert wanted <= set(client["redirectUris"])


def test_a_file_that_does_not_parse_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "olapps-realm.json").write_text('{"realm": "olapps",')
    monkeypatch.setattr(keycloak, "REALMS", tmp_path)
    with pytest.raises(HarnessError, match=r"olapps-realm.json: not a realm of Keycloak: Expecting property name"):
        keycloak.secrets()
