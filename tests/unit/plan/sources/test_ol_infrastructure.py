"""A checkout of the owners: which release is which hub, and the names that a run takes from it."""

from __future__ import annotations

from typing import Any

import pytest

from harness.plan.hubs import AUTHORING, HUBS, STUDENT
from harness.plan.sources.ol_infrastructure import named_in, release_of
from harness.program.closure import Place
from harness.program.errors import ProgramError
from harness.program.model import RELEASE, Program, Resource

PLACE = Place("deployment.py", 7)
BUCKET = {"singleuser": {"extraEnv": {"NOTEBOOK_BUCKET": "courses"}}}
LISTED = {"singleuser": {"extraEnv": [{"name": "NOTEBOOK_BUCKET", "value": "courses"}]}}


def release(name: str, values: dict[str, Any] | None = None, chart: str = "jupyterhub") -> Resource:
    inputs = {"name": name, "namespace": f"{name}-space", "chart": chart, "values": values or {}}
    return Resource(RELEASE, name, True, inputs, PLACE)


def secret(namespace: str, address: str) -> Resource:
    """A Secret that is filled from Vault with a database's address."""
    template = {"DATABASE_URL": {"text": address}}
    body = {
        "kind": "VaultDynamicSecret",
        "metadata": {"name": f"{namespace}-db", "namespace": namespace},
        "spec": {"destination": {"name": "creds", "transformation": {"templates": template}}},
    }
    return Resource("kubernetes:yaml/v2:ConfigGroup", f"{namespace}-secrets", True, {"objs": [body]}, PLACE)


def program(*resources: Resource) -> Program:
    return Program("QA", "jupyterhub", "hubs", resources)


@pytest.mark.parametrize(
    ("releases", "students", "authors"),
    [
        ([release("jupyterhub-authoring"), release("jupyterhub")], "jupyterhub", "jupyterhub-authoring"),
        ([release("jupyterhub"), release("studio")], "jupyterhub", "studio"),
        ([release("class"), release("jupyterhub-authoring")], "class", "jupyterhub-authoring"),
        ([release("class"), release("studio", BUCKET)], "class", "studio"),
        ([release("class"), release("studio", BUCKET), release("redis", chart="redis")], "class", "studio"),
        ([release("class"), release("studio", LISTED)], "class", "studio"),
    ],
    ids=["today's names", "authors renamed", "students renamed", "both renamed", "with another chart", "as a list"],
)
def test_each_hub_is_found(releases: list[Resource], students: str, authors: str) -> None:
    found = [release_of(program(*releases), hub).name for hub in HUBS]
    assert found == [students, authors]


@pytest.mark.parametrize(
    "releases", [[release("class"), release("studio")], [release("jupyterhub")], []], ids=["alike", "one", "none"]
)
def test_hubs_that_nothing_tells_apart(releases: list[Resource]) -> None:
    with pytest.raises(ProgramError, match=r"jupyterhub for QA: expected a release of the JupyterHub chart .*; found"):
        release_of(program(*releases), AUTHORING)


def test_names_of_a_run_are_the_programs() -> None:
    made = program(release("jupyterhub"), secret("jupyterhub-space", "postgresql://u:p@host:5432/learners?sslmode=on"))
    hub = named_in(made, STUDENT)
    assert (hub.release, hub.namespace, hub.database) == ("jupyterhub", "jupyterhub-space", "learners")
    assert hub == STUDENT
    assert {STUDENT: 1}[hub] == 1, "a hub is the same under any name"


@pytest.mark.parametrize("address", ["postgresql://host/", "postgresql://host/a b", "postgresql://host/a;drop"])
def test_an_address_without_a_name_leaves_the_harness_its_own(address: str) -> None:
    made = program(release("jupyterhub"), secret("jupyterhub-space", address))
    assert named_in(made, STUDENT).database == STUDENT.database
