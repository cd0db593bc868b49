"""The list of all services.

To add one: its module in harness/services, its folder in images/, its table in images/versions.toml, and a name here.
"""

from __future__ import annotations

from harness.services.aws import Aws
from harness.services.container import Service
from harness.services.keycloak import Keycloak
from harness.services.postgres import Postgres
from harness.services.registry import Registry

SERVICES: tuple[type[Service], ...] = (Postgres, Aws, Registry, Keycloak)
"""Services in the order in which they start; one that needs another comes after it.

Postgres is first: the hubs of a copy that was stopped start beside the services.
"""


def always() -> tuple[type[Service], ...]:
    """Return the services that every run has."""
    return tuple(service for service in SERVICES if not service.ON_DEMAND)


def on_demand() -> tuple[type[Service], ...]:
    """Return the services that a run has if one of its tests asks for them."""
    return tuple(service for service in SERVICES if service.ON_DEMAND)


def secrets() -> tuple[str, ...]:
    """Return the names of the passwords that all services need."""
    return tuple(name for service in SERVICES for name in service.SECRETS)


def names() -> tuple[str, ...]:
    """Return the names of all services: their containers are called RUN-NAME."""
    return tuple(service.NAME for service in SERVICES)
