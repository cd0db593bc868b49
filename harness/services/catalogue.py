"""The list of all services.

To add one: its module in harness/services, its folder in images/, its table in images/versions.toml, and a name here.
"""

from __future__ import annotations

from harness.services.aws import Aws
from harness.services.container import Service
from harness.services.postgres import Postgres
from harness.services.registry import Registry

SERVICES: tuple[type[Service], ...] = (Aws, Registry, Postgres)
"""Services in the order in which they start; one that needs another comes after it."""


def secrets() -> tuple[str, ...]:
    """Return the names of the passwords that all services need."""
    return tuple(name for service in SERVICES for name in service.SECRETS)


def names() -> tuple[str, ...]:
    """Return the names of all services: their containers are called RUN-NAME."""
    return tuple(service.NAME for service in SERVICES)
