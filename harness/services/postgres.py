"""Postgres, which keeps the hubs' state: one server, a database a hub, as production's one RDS instance has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harness.base.files import make_readable
from harness.base.shell import CommandError
from harness.base.wait import NotYet, wait_until
from harness.host import docker
from harness.services.container import Content, Service, Services

USER = "jupyterhub"
PASSWORD = "database"
"""Name of the password among the run's secrets."""

CHECKPOINTER = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
BUSY = "busy"
"""Word in place of a failover that did not come about."""
OPEN_TRANSACTIONS = "SELECT datname, query FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"


@dataclass(frozen=True)
class Postgres(Service):
    """A Postgres server."""

    NAME = "postgres"
    TITLE = "Postgres"
    WITHOUT_IT = "the hubs have no database"
    PORT = 5432
    SECRETS = (PASSWORD,)

    password: str

    @classmethod
    def create(cls, run: str, state: Path, secrets: Mapping[str, str], earlier: Services) -> Self:
        return cls(run, state, secrets[PASSWORD])

    def launch(self, image: str, content: Content) -> None:
        script = self.state / "databases.sql"
        script.write_text("".join(f'CREATE DATABASE "{name}" OWNER {USER};\n' for name in content.databases))
        make_readable(script)
        self.run_container(
            image,
            env={"POSTGRES_USER": USER, "POSTGRES_PASSWORD": self.password, "POSTGRES_DB": "postgres"},
            volumes={script: "/docker-entrypoint-initdb.d/databases.sql:ro"},
            # Nothing here has to survive a power cut.
            command=["postgres", "-c", "fsync=off", "-c", "full_page_writes=off"],
        )

    def is_healthy(self) -> bool | NotYet:
        try:
            # Over TCP: the server that runs the script above listens on its socket alone.
            docker.docker("exec", self.name, "pg_isready", "--quiet", "--host", "127.0.0.1", "--username", USER)
        except CommandError as error:
            return NotYet(str(error))
        return True

    def url(self, database: str) -> str:
        """Return the DATABASE_URL of one hub, as its pod uses it."""
        return f"postgresql://{USER}:{self.password}@{self.location}/{database}"

    def create_database(self, name: str) -> None:
        """Create an empty database in place of any of that name."""
        for sql in (f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}" OWNER {USER}'):
            self.query("postgres", sql)

    def ensure_database(self, name: str) -> None:
        """Create an empty database, unless there is one of that name."""
        if [name] not in self.query("postgres", "SELECT datname FROM pg_database"):
            self.query("postgres", f'CREATE DATABASE "{name}" OWNER {USER}')

    def fail_over(self, *, at_rest: bool = False) -> bool:
        """End every session and start all server processes anew, from the log, as at a crash or a failover.

        The container stays, and so does its address: to the run's watch on its containers nothing has happened.

        Args:
            at_rest: only while no session is in a transaction; returns False where one is.
        """
        [[checkpointer]] = self.query("postgres", CHECKPOINTER)
        # A server process that is killed takes all others with it (Postgres, postmaster.c, HandleChildCrash).
        end = f"kill -KILL {int(checkpointer)}"
        if at_rest:
            # In one go: a moment later one may be.
            psql = f'psql --username {USER} --dbname postgres --tuples-only --no-align --command "{OPEN_TRANSACTIONS}"'
            end = f'if test -z "$({psql})"; then {end}; else echo {BUSY}; fi'
        if docker.docker("exec", self.name, "sh", "-c", end) == BUSY:
            return False

        def renewed() -> bool | NotYet:
            try:
                found = self.query("postgres", CHECKPOINTER)
            except CommandError as error:
                return NotYet(str(error))
            return (len(found) == 1 and found != [[checkpointer]]) or NotYet("the server that was there before")

        wait_until(f"{self.TITLE} after a failover", renewed, timeout=self.START_TIMEOUT)
        return True

    def open_transactions(self) -> list[list[str]]:
        """Return the database and the last query of each session that is in a transaction and does nothing."""
        return self.query("postgres", OPEN_TRANSACTIONS)

    def query(self, database: str, sql: str) -> list[list[str]]:
        """Run a query and return its rows, each a list of texts."""
        unaligned = ("--no-align", "--tuples-only", "--field-separator", "\t")
        return [line.split("\t") for line in self._psql(database, *unaligned, "--command", sql).splitlines()]

    def tables(self, database: str, *queries: str, timeout: float) -> str:
        """Run queries and return their results as tables for people."""
        return self._psql(database, *(part for sql in queries for part in ("--command", sql)), timeout=timeout)

    def _psql(self, database: str, *args: str, timeout: float = 60) -> str:
        # Over the socket, which asks for no password: none gets into a process list.
        psql = ("psql", "--username", USER, "--dbname", database, *args)
        return docker.docker("exec", self.name, *psql, timeout=timeout)
