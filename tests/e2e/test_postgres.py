"""Postgres keeps the hubs' state: a hub may go and come back, Postgres too, and nobody notices."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from harness.base.wait import NotYet, wait_until
from harness.charts.manifests import secret_reference, variables
from harness.cluster.kind import Cluster
from harness.cluster.pods import server_of
from harness.deployment.rollout import restart_hub
from harness.hub.api import Hub
from harness.people.author import Author
from harness.people.journey import JourneyError, Visitor
from harness.people.link import EXAMPLE
from harness.people.student import Student
from harness.scenarios.ahead import Arrival
from harness.services.postgres import Postgres

COURSE, NOTEBOOK = EXAMPLE.course, EXAMPLE.notebook
DATABASE_ERROR = re.compile(r"Rolling back session due to database error.*")
"""Line of a hub's log about a request that failed for its database (jupyterhub, handlers/base.py)."""


def at_rest(database: Postgres, people: Iterable[Visitor]) -> bool | NotYet:
    """True if no hub's session is in a transaction, in which nothing could save it (see test_known_defects.py)."""
    for person in people:
        # Ends with a commit.
        now = {"last_activity": datetime.now(UTC).isoformat()}
        person.hub.api.post(f"/users/{person.name}/activity", json=now).raise_for_status()
    busy = database.open_transactions()
    return not busy or NotYet(f"the hubs are in the middle of {busy}")


def fail_over_at_rest(database: Postgres, people: Iterable[Visitor]) -> bool | NotYet:
    """Have Postgres fail over while no hub's session is in a transaction."""
    resting = at_rest(database, people)
    return resting if isinstance(resting, NotYet) else database.fail_over(at_rest=True) or NotYet("the hubs are busy")


def database_errors(cluster: Cluster, hub: Hub, since: float) -> list[str]:
    """Lines of a hub's log, since a time.time(), about requests that failed for its database."""
    pods = cluster.pods(hub.namespace)
    [pod] = pods.look("component=hub")
    log = pods.logs(pod.metadata.name, "hub", seconds=time.time() - since)
    return [f"{hub.release}: {line}" for line in DATABASE_ERROR.findall(log)]


@pytest.mark.touches("the students' hub")
@pytest.mark.students(own=f"/tmplogin?course={COURSE}")
@pytest.mark.usefixtures("no_pending_deletions")
def test_restart_of_the_hub_keeps_session_user_and_server(
    arrivals: Mapping[str, Arrival], cluster: Cluster, hub: Hub
) -> None:
    """A restart of the hub keeps a student's session, user and running server."""
    student = arrivals["own"].arrived
    before = cluster.server_pod(hub.namespace, student.name)
    with student.server.kernel() as kernel:
        kernel.run("kept = 42")
        restart_hub(cluster, hub)
        after = [pod.metadata.uid for pod in cluster.pods(hub.namespace).look(server_of(student.name))]
        assert after == [before.metadata.uid], "the restart of the hub ended the student's server, or started another"
        assert kernel.run("kept").value == "42", "the kernel forgot what it knew before the hub's restart"
    assert student.name in hub.users(), "the hub forgot the student"
    home = student.get("/hub/home")
    assert home.status_code == 200, f"the student's session is gone: /hub/home answers {home.status_code}"
    found = student.server.contents(NOTEBOOK)
    assert found.status_code == 200, f"after the restart the notebook answers {found.status_code}"


@pytest.mark.touches("Postgres")
@pytest.mark.usefixtures("no_pending_deletions", "background_opened")
def test_failover_of_postgres_goes_unnoticed(
    visit: Callable[[], Student],
    author: Author,
    password: str,
    cluster: Cluster,
    hub: Hub,
    authoring_hub: Hub,
    database: Postgres,
) -> None:
    """When Postgres ends all sessions and comes back, people on both hubs go on, and newcomers get in."""
    student, newcomer = visit(), visit()
    student.open(f"/tmplogin?course={COURSE}")
    author.log_in(password)
    author.whoami()
    with student.server.kernel() as kernel:
        kernel.run("kept = 42")
        began = time.time()
        wait_until("a failover at rest", partial(fail_over_at_rest, database, (student, author)), timeout=60)
        # What a hub asks for while there is no database fails; it is to recover from that too.
        meanwhile = {each: len(database_errors(cluster, each, began)) for each in (hub, authoring_hub)}
        noticed = []
        try:
            newcomer.open(f"/tmplogin?course={COURSE}")
        except JourneyError as error:
            noticed.append(f"a newcomer gets no server: {error}")
        for person in (author, student):
            home = person.get("/hub/home").status_code
            if home != 200:
                noticed.append(f"the {person.role}'s session is gone: /hub/home answers {home}")
        assert kernel.run("kept").value == "42", "the kernel forgot what it knew before the failover of Postgres"
    for each, errors in meanwhile.items():
        noticed += database_errors(cluster, each, began)[errors:]
    assert not noticed, "a failover of Postgres is noticed: " + "\n".join(noticed)


def test_each_hub_has_a_secret_of_its_own(student_values: Mapping[str, Any], author_values: Mapping[str, Any]) -> None:
    """The hubs take the addresses of their databases from two secrets."""
    students, authors = (database_secret(values) for values in (student_values, author_values))
    assert students, "the students' hub takes no address of a database (DATABASE_URL) from a secret"
    assert authors, "the authors' hub takes no address of a database (DATABASE_URL) from a secret"
    assert students != authors, f"both hubs take the address of their database from secret {students}"


def database_secret(values: Mapping[str, Any]) -> str:
    """Name of the secret that a hub takes the address of its database from; empty for none."""
    return str(secret_reference(variables(values["hub"]).get("DATABASE_URL")).get("name", ""))


@pytest.mark.students(anybody=str(EXAMPLE))
def test_each_hub_has_a_database_of_its_own(
    arrivals: Mapping[str, Arrival], hub: Hub, authoring_hub: Hub, database: Postgres
) -> None:
    """A student's user is in the students' database, and not in the authors'."""
    student = arrivals["anybody"].arrived
    names = {
        each.release: {row[0] for row in database.query(each.database, "SELECT name FROM users")}
        for each in (hub, authoring_hub)
    }
    assert student.name in names[hub.release], f"Postgres has no user {student.name} of {hub.release}"
    assert student.name not in names[authoring_hub.release], f"{authoring_hub.release} has the students' users"
    assert student.name not in authoring_hub.users(), "both hubs have one database: the authors' knows the student"
