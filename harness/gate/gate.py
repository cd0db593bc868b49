"""The gate in front of both hubs: a real OIDC login at a real Keycloak, by Apache in APISIX's place.

It is a pod that reaches each hub by its Service, and Keycloak beside the cluster by the name of production's. Routes,
certificate and calendar are files in the run's directory, which its node has mounted: the pod sees a change at once. A
gate that is to start again is made anew.
"""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx

from harness.base.http import Client
from harness.base.names import Names
from harness.base.wait import NotYet, TooLateError, seldom, wait_until
from harness.cluster.kind import Cluster
from harness.gate.addon import CONFIGURATION, GATE, HTTP, HTTPS, NAMESPACE, PLACE, objects, way_to_keycloak
from harness.gate.settings import GatedRoute, configuration
from harness.host import docker
from harness.plan.contract import SSO_HOST
from harness.plan.hubs import GATE_HTTP_NODE_PORT, GATE_HTTPS_NODE_PORT
from harness.services.clock import Clock
from harness.services.container import HEALTH_TIMEOUT
from harness.services.keycloak import Keycloak

PASSPHRASE = "gate_session"
"""Name of the secret that encrypts sessions, among the run's secrets."""
START_TIMEOUT = 120.0
"""Seconds for its pod to answer, image pulled and all."""
LOGIN_TIMEOUT = 30.0
"""Seconds for the gate's first answer, for which it asks Keycloak."""
WAY_TIMEOUT = 30.0
"""Seconds for the nodes to know of another way to Keycloak."""
CONNECT = f"timeout 2 bash -c ': </dev/tcp/{SSO_HOST}/{HTTPS}' 2>/dev/null; echo $?"
"""Script that prints the exit code of a connection to Keycloak."""
CONNECTED, REFUSED = "0", "1"
TRUST = f"""
database=$(mktemp --directory)
certutil -N --empty-password -d "sql:$database"
certutil -A -d "sql:$database" -n "the run" -t C,, -i {PLACE}/authority.pem
tar --create --directory "$database" . | base64
"""
"""Script that prints a browser's database of certificates with the run's authority, as an archive."""


@dataclass(frozen=True)
class Gate:
    """Apache with mod_auth_openidc in a pod; without Keycloak it starts, and logs no one in.

    Attributes:
        image: full name, as nodes pull it.
        passphrase: encrypts sessions.
    """

    cluster: Cluster
    keycloak: Keycloak
    image: str
    passphrase: str = field(repr=False)

    def start(self, routes: Sequence[tuple[GatedRoute, str]]) -> None:
        """Make its pod anew with some routes, and wait until it answers.

        Args:
            routes: each with host:port of the hub behind it.

        Raises:
            NeverError, TooLateError: it does not come up; the message has the cause.
            CommandError: the cluster refuses it.
        """
        self.issue_certificate([host for route, _ in routes for host in route.hosts])
        self._write("authority.pem", self.keycloak.authority.certificate.read_text())
        self.clock.set_ahead(0)
        secret = self.keycloak.client_secret
        written = configuration(routes, client_secret=secret, passphrase=self.passphrase)
        self._write("routes.conf", written, private=True)
        self.restart()

    def restart(self) -> None:
        """Have the gate start again, with the same files: all that it has not written into cookies is gone.

        Raises:
            NeverError, TooLateError, CommandError: as `start`.
        """
        self.cluster.kubectl("--namespace", NAMESPACE, "delete", "pod", GATE, "--ignore-not-found")
        self.cluster.apply(NAMESPACE, *objects(self.image, self._address_of_keycloak()))
        pods = self.cluster.pods(NAMESPACE)
        stuck = seldom(lambda: pods.stuck_reason(pods.look()))
        wait_until("the gate", self.is_healthy, timeout=START_TIMEOUT, fail_if=stuck)

    def find_keycloak(self) -> None:
        """Have the gate reach Keycloak where it runs now, or be refused where it does not run.

        Raises:
            TooLateError: the cluster's nodes do not follow.
        """
        address = self._address_of_keycloak()
        self.cluster.apply(NAMESPACE, *way_to_keycloak(address))
        wanted = CONNECTED if address else REFUSED

        def leads_there() -> bool | NotYet:
            found = self._execute("sh", "-c", CONNECT).strip()
            return found == wanted or NotYet(f"exit code {found} of a connection, expected {wanted}")

        wait_until("the gate's way to Keycloak", leads_there, timeout=WAY_TIMEOUT)

    def reload(self) -> None:
        """Have the gate read its files again, certificate and all; connections that are open stay."""
        self._execute("apache2", "-f", CONFIGURATION, "-k", "graceful")

    def issue_certificate(self, hosts: Iterable[str], ends: datetime | None = None) -> None:
        """Write a certificate for hosts among its files, which the gate reads at its next start or `reload`.

        Args:
            ends: when it expires; not for years unless given.
        """
        certificate = self.keycloak.authority.issue(GATE, *hosts, ends=ends)
        self._write("gate.pem", certificate.chain.read_text())
        self._write("gate.key", certificate.key.read_text(), private=True)

    def is_healthy(self) -> bool | NotYet:
        """Check once whether the gate answers as it should."""
        # A name that no route has: for any other it would ask Keycloak first.
        try:
            with Client(timeout=HEALTH_TIMEOUT) as client:
                address = docker.published(self.cluster.control_plane, GATE_HTTP_NODE_PORT)
                status = client.get(f"http://{address}/").status_code
        except httpx.TransportError as error:
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
        archive = base64.b64decode(self._execute("sh", "-ec", TRUST))
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(database, filter="data")

    def names(self, hosts: Iterable[str]) -> Names:
        """Return the way to hosts behind the gate and to Keycloak, by their names."""
        return names_behind(self.cluster, self.keycloak, hosts)

    def hosts_of(self, names: Names) -> list[str]:
        """Return the hosts behind the gate, of those that names lead to."""
        return sorted({host for host, _ in names.places if host != SSO_HOST})

    @property
    def clock(self) -> Clock:
        """Its calendar, which a test may move."""
        return Clock(self.cluster.gate_files / "clock")

    def _execute(self, *command: str) -> str:
        return self.cluster.kubectl("exec", "--namespace", NAMESPACE, GATE, "--", *command)

    def _address_of_keycloak(self) -> str:
        return docker.address(self.keycloak.name, self.cluster.network)

    def _write(self, name: str, text: str, *, private: bool = False) -> None:
        file = self.cluster.gate_files / name
        file.touch()
        # Apache's own processes, which are no root, read what is not private.
        file.chmod(0o600 if private else 0o644)
        file.write_text(text)


def names_behind(cluster: Cluster, keycloak: Keycloak, hosts: Iterable[str]) -> Names:
    """Return the way to hosts behind the gate's NodePorts, whichever gate has them, and to Keycloak, by their names."""
    hosts, places = list(hosts), dict(keycloak.names.places)
    for port, node_port in ((HTTP, GATE_HTTP_NODE_PORT), (HTTPS, GATE_HTTPS_NODE_PORT)):
        places |= dict.fromkeys(((host, port) for host in hosts), docker.published(cluster.control_plane, node_port))
    return Names(places, keycloak.authority.certificate)
