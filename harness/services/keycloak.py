"""Keycloak, the real one, with the olapps realm that learners and authors log in to."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from harness.base import http
from harness.base.errors import HarnessError
from harness.base.files import read_text
from harness.base.names import Names
from harness.base.wait import NotYet
from harness.plan.contract import SSO_CLIENT, SSO_HOST, SSO_REALM
from harness.plan.versions import IMAGES
from harness.services.authority import Authority
from harness.services.container import HEALTH_TIMEOUT, Content, Service, Services

REALMS = IMAGES / "keycloak/realms"


@dataclass(frozen=True)
class Account:
    """A person's account in a realm."""

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Keycloak(Service):
    """A Keycloak server under the name of production's, with TLS from the run's own authority."""

    NAME = "keycloak"
    TITLE = "Keycloak"
    WITHOUT_IT = "no one can log in"
    PORT = 443
    START_TIMEOUT = 180.0
    ON_DEMAND = True

    @classmethod
    def create(cls, run: str, state: Path, secrets: Mapping[str, str], earlier: Services) -> Self:
        return cls(run, state)

    @property
    def authority(self) -> Authority:
        """The run's certificate authority."""
        return Authority.of_run(self.state)

    @property
    def issuer(self) -> str:
        """Return the realm's issuer, the same for browsers, clients and the gate."""
        return f"https://{SSO_HOST}/realms/{SSO_REALM}"

    @property
    def names(self) -> Names:
        """Return the way to it by its name."""
        return Names({(SSO_HOST, self.PORT): self.address}, self.authority.certificate)

    def launch(self, image: str, content: Content) -> None:
        certificate = self.authority.issue(self.NAME, SSO_HOST)
        self.run_container(
            image,
            aliases=[SSO_HOST],
            volumes={
                certificate.chain: "/etc/keycloak.pem:ro",
                certificate.key: "/etc/keycloak.key:ro",
                # Our own image has them in its database already, and skips them.
                **{file: f"/opt/keycloak/data/import/{file.name}:ro" for file in sorted(REALMS.glob("*.json"))},
            },
            command=[
                "start",
                "--import-realm",
                f"--hostname=https://{SSO_HOST}",
                f"--https-port={self.PORT}",
                "--https-certificate-file=/etc/keycloak.pem",
                "--https-certificate-key-file=/etc/keycloak.key",
                # Else it opens ports for other Keycloaks, and waits for their answer.
                "--cache=local",
            ],
        )

    def is_healthy(self) -> bool | NotYet:
        page = f"{self.issuer}/.well-known/openid-configuration"
        try:
            with http.Client(timeout=HEALTH_TIMEOUT, transport=self.names.transport()) as client:
                answer = client.get(page)
        except httpx.TransportError as error:
            return NotYet(str(error) or type(error).__name__)
        # While it boots, it answers 503.
        return answer.is_success or NotYet(f"{page}: status {answer.status_code}, expected 200")

    @property
    def client_secret(self) -> str:
        """The secret of the gate's client."""
        [client] = [each for each in _realm(SSO_REALM)["clients"] if each["clientId"] == SSO_CLIENT]
        return str(client["secret"])

    def account(self, name: str, realm: str = SSO_REALM) -> Account:
        """Return one of the accounts that a realm's file has."""
        [user] = [each for each in _realm(realm)["users"] if each["username"] == name]
        return Account(name, str(user["credentials"][0]["value"]))


def secrets() -> set[str]:
    """Return the secrets and passwords of the realms, which nothing that is kept may show."""
    realms = [_realm(file.name.removesuffix("-realm.json")) for file in REALMS.glob("*.json")]
    clients = {str(each["secret"]) for realm in realms for each in realm.get("clients", ())}
    passwords = {str(user["credentials"][0]["value"]) for realm in realms for user in realm["users"]}
    return clients | passwords


@functools.cache
def _realm(name: str) -> dict[str, Any]:
    file = REALMS / f"{name}-realm.json"
    try:
        found: dict[str, Any] = json.loads(read_text(file, "the realm"))
    except ValueError as error:
        raise HarnessError(f"{file}: not a realm of Keycloak: {error}") from error
    return found
