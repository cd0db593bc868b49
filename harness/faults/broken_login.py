"""Faults of the login: Keycloak gone or silent, the gate started again, its certificate expired."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx

from harness.base.http import Client
from harness.base.names import Names
from harness.base.wait import NotYet, wait_until
from harness.gate.gate import Gate
from harness.host import docker
from harness.services.keycloak import Keycloak

RELOAD_TIMEOUT = 30.0
"""Seconds for the gate to show another certificate."""


@contextmanager
def keycloak_gone(gate: Gate, names: Names) -> Iterator[None]:
    """Stop Keycloak while the context is open; at its end it has started again, with its sessions."""
    gate.keycloak.stop()
    try:
        gate.find_keycloak()
        yield
    finally:
        gate.keycloak.resume()
        gate.find_keycloak()
        names.places.update(gate.keycloak.names.places)


@contextmanager
def keycloak_silent(keycloak: Keycloak) -> Iterator[None]:
    """Have Keycloak take connections and answer none while the context is open."""
    docker.docker("pause", keycloak.name)
    try:
        yield
    finally:
        docker.docker("unpause", keycloak.name)


@contextmanager
def certificate_expired(gate: Gate, names: Names) -> Iterator[None]:
    """Have the gate show a certificate that expired yesterday while the context is open."""
    _show(gate, names, datetime.now(UTC) - timedelta(days=1))
    try:
        yield
    finally:
        _show(gate, names, None)


def refusal(names: Names, host: str) -> str:
    """Return the reason for which a client refuses a host's certificate; empty where it trusts it."""
    try:
        with Client(timeout=10, transport=names.transport()) as client:
            client.get(f"https://{host}/")
    except httpx.ConnectError as error:
        if "CERTIFICATE_VERIFY_FAILED" not in str(error):
            raise
        return str(error)
    return ""


def _show(gate: Gate, names: Names, ends: datetime | None) -> None:
    """Have the gate show a certificate, and wait until it does: one that is good is trusted."""
    gate.issue_certificate(gate.hosts_of(names), ends)
    gate.reload()
    host, good = gate.hosts_of(names)[0], ends is None
    shown = "the good certificate" if good else "the expired certificate"
    wait_until(shown, lambda: good is not bool(refusal(names, host)) or NotYet("the other"), timeout=RELOAD_TIMEOUT)
