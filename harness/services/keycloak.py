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
from harness.base.errors import EnvironmentFault, HarnessError
from harness.base.files import read_text
from harness.base.names import Names
from harness.base.wait import NotYet
from harness.plan.contract import SSO_CLIENT, SSO_HOST, SSO_REALM
from harness.plan.versions import IMAGES
from harness.services import clock
from harness.services.authority import Authority
from harness.services.clock import Clock
from harness.services.container import HEALTH_TIMEOUT, Content, Service, Services

REALMS = IMAGES / "keycloak/realms"
HARNESS_CLIENT = "harness"
"""Client by which the harness changes the realm, and no one logs in."""
ADMIN_TIMEOUT = 30.0
"""Seconds for Keycloak to make a key, on a machine that is busy."""
KEYS, RSA = "org.keycloak.keys.KeyProvider", "rsa-generated"
"""Keycloak's kind of component that holds the keys of a realm, and the one that tokens are signed by."""


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

    @property
    def clock(self) -> Clock:
        """Its calendar, which a test may move."""
        return Clock(self.state / "keycloak.clock")

    def launch(self, image: str, content: Content) -> None:
        certificate = self.authority.issue(self.NAME, SSO_HOST)
        self.clock.set_ahead(0)
        self.run_container(
            image,
            aliases=[SSO_HOST],
            volumes={
                certificate.chain: "/etc/keycloak.pem:ro",
                certificate.key: "/etc/keycloak.key:ro",
                self.clock.file: f"{clock.PLACE}:ro",
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
                # Learners of many tests share an account. Else it refuses the right password, as a wrong one, while an
                # earlier login of the account is still being counted.
                "--spi-brute-force-protector--default-brute-force-detector--allow-concurrent-requests=true",
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
        return _secret_of(SSO_CLIENT)

    def rotate_keys(self) -> None:
        """Have the realm sign with a new key, and forget those that it signed with.

        Raises:
            HarnessError: Keycloak refuses.
        """
        realm = f"https://{SSO_HOST}/admin/realms/{SSO_REALM}"
        with http.Client(timeout=ADMIN_TIMEOUT, transport=self.names.transport()) as client:

            def ask(method: str, url: str, **kwargs: Any) -> httpx.Response:
                answer = client.request(method, url, **kwargs)
                if answer.is_error:
                    raise HarnessError(f"Keycloak's new keys: {method} {url} answers {answer.status_code}")
                return answer

            secret = _secret_of(HARNESS_CLIENT)
            login = {"grant_type": "client_credentials", "client_id": HARNESS_CLIENT, "client_secret": secret}
            granted = ask("POST", f"{self.issuer}/protocol/openid-connect/token", data=login).json()
            client.headers["Authorization"] = f"Bearer {granted['access_token']}"
            providers = ask("GET", f"{realm}/components", params={"type": KEYS}).json()
            new = {"name": "new", "providerId": RSA, "providerType": KEYS, "config": {"priority": ["200"]}}
            ask("POST", f"{realm}/components", json=new)
            for each in providers:
                if each["providerId"] == RSA:
                    ask("DELETE", f"{realm}/components/{each['id']}")

    def account(self, name: str, realm: str = SSO_REALM) -> Account:
        """Return one of the accounts that a realm's file has."""
        [user] = [each for each in _realm(realm)["users"] if each["username"] == name]
        return Account(name, str(user["credentials"][0]["value"]))


def secrets() -> set[str]:
    """Return the secrets and passwords of the realms, which nothing that is kept may show."""
    realms = [_realm(file.name.removesuffix("-realm.json")) for file in REALMS.glob("*.json")]
    clients = {str(each["secret"]) for realm in realms for each in realm.get("clients", ())}
    people = [user for realm in realms for user in realm["users"] if "credentials" in user]
    passwords = {str(user["credentials"][0]["value"]) for user in people}
    return clients | passwords


def _secret_of(name: str) -> str:
    [client] = [each for each in _realm(SSO_REALM)["clients"] if each["clientId"] == name]
    return str(client["secret"])


@functools.cache
def _realm(name: str) -> dict[str, Any]:
    file = REALMS / f"{name}-realm.json"
    try:
        found: dict[str, Any] = json.loads(read_text(file, "the realm"))
    except ValueError as error:
        raise EnvironmentFault(f"{file}: not a realm of Keycloak: {error}") from error
    return found
