"""The gate in front of both hubs: a real OIDC login at a real Keycloak, by Apache in APISIX's place.

It is a container beside the cluster, and reaches the hubs by their NodePorts: so it has the log, the watch and the
teardown of every service, and a cluster that runs need not be made anew for it. What a pod would add, that
NetworkPolicies let it through to the proxy, is in the chart for every pod with its label.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx

from harness.base.http import Client
from harness.base.names import Names
from harness.base.shell import CommandError
from harness.base.wait import NotYet, TooLateError, wait_until
from harness.host import docker
from harness.plan.contract import SSO_HOST
from harness.services import clock
from harness.services.clock import Clock
from harness.services.container import HEALTH_TIMEOUT, Content, Service, Services
from harness.services.gate_settings import configuration
from harness.services.keycloak import Keycloak

PASSPHRASE = "gate_session"
"""Name of the secret that encrypts sessions, among the run's secrets."""
HTTP, HTTPS = 80, 443
LOGIN_TIMEOUT = 30.0
"""Seconds for the gate's first answer, for which it asks Keycloak."""


@dataclass(frozen=True)
class Gate(Service):
    """Apache with mod_auth_openidc; Keycloak has to run before it starts."""

    NAME = "gate"
    TITLE = "the gate"
    WITHOUT_IT = "no hub can be reached by its name"
    PORT = HTTPS
    START_TIMEOUT = 30.0
    SECRETS = (PASSPHRASE,)
    ON_DEMAND = True

    keycloak: Keycloak
    passphrase: str

    @classmethod
    def create(cls, run: str, state: Path, secrets: Mapping[str, str], earlier: Services) -> Self:
        return cls(run, state, earlier[Keycloak], secrets[PASSPHRASE])

    def names(self, hosts: Iterable[str]) -> Names:
        """Return the way to hosts behind the gate and to Keycloak, by their names."""
        hosts = list(hosts)
        places = {
            **self.keycloak.names.places,
            **{(host, HTTPS): self.address for host in hosts},
            **{(host, HTTP): docker.published(self.name, HTTP) for host in hosts},
        }
        return Names(places, self.keycloak.authority.certificate)

    @property
    def clock(self) -> Clock:
        """Its calendar, which a test may move."""
        return Clock(self.state / "gate.clock")

    def hosts_of(self, names: Names) -> list[str]:
        """Return the hosts behind the gate, of those that names lead to."""
        return sorted({host for host, _ in names.places if host != SSO_HOST})

    def reload(self) -> None:
        """Have the gate read its files again, certificate and all; connections that are open stay."""
        docker.docker("exec", self.name, "apache2", "-f", "/etc/gate/apache.conf", "-k", "graceful")

    def launch(self, image: str, content: Content) -> None:
        hosts = [host for route, _ in content.routes for host in route.hosts]
        certificate = self.keycloak.authority.issue(self.NAME, *hosts)
        self.clock.set_ahead(0)
        routes = self.state / "gate.conf"
        routes.touch(0o600)
        secret = self.keycloak.client_secret
        routes.write_text(configuration(content.routes, client_secret=secret, passphrase=self.passphrase))
        self.run_container(
            image,
            more_ports=[HTTP],
            volumes={
                routes: "/etc/gate/routes.conf:ro",
                certificate.chain: "/etc/gate/gate.pem:ro",
                certificate.key: "/etc/gate/gate.key:ro",
                self.clock.file: f"{clock.PLACE}:ro",
                self.keycloak.authority.certificate: "/etc/gate/authority.pem:ro",
            },
        )

    def is_healthy(self) -> bool | NotYet:
        # A name that no route has: for any other it would ask Keycloak first.
        try:
            with Client(timeout=HEALTH_TIMEOUT) as client:
                status = client.get(f"http://{docker.published(self.name, HTTP)}/").status_code
        except (CommandError, httpx.TransportError) as error:
            # Of a container that has ended no port is published.
            return NotYet(str(error) or type(error).__name__)
        return status == 404 or NotYet(f"status {status}, expected 404")

    def wait_for_keycloak(self, names: Names, url: str) -> None:
        """Wait until the gate has read Keycloak's description of itself, which it keeps.

        Many who come at once, to a gate that has just started, would each make it read that. Of a gate that answers
        with errors, whatever their cause, the tests tell.

        Args:
            url: of a hub behind it.
        """

        def read() -> bool | NotYet:
            with Client(timeout=LOGIN_TIMEOUT, transport=names.transport()) as client:
                status = client.get(url).status_code
            return status < 500 or NotYet(f"{url}: status {status}")

        with suppress(TooLateError):
            wait_until("the gate's first look at Keycloak", read, timeout=LOGIN_TIMEOUT)

    def trust_in(self, home: Path) -> None:
        """Have a browser with that home directory trust the run's authority, and with it the gate and Keycloak.

        Raises:
            CommandError: the certificate cannot be put into the browser's database.
        """
        database = home / ".pki/nssdb"
        database.mkdir(mode=0o700, parents=True)
        inside = f"/tmp/nssdb-{os.urandom(4).hex()}"
        certutil = ["exec", self.name, "certutil"]
        docker.docker("exec", self.name, "mkdir", inside)
        docker.docker(*certutil, "-N", "--empty-password", "-d", f"sql:{inside}")
        place = ["-d", f"sql:{inside}", "-n", "the run", "-t", "C,,", "-i", "/etc/gate/authority.pem"]
        docker.docker(*certutil, "-A", *place)
        docker.docker("cp", f"{self.name}:{inside}/.", database)
