"""Postgres, which keeps the hubs' state: one server, a database a hub, as production's one RDS instance has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.base.files import make_readable
from harness.base.shell import CommandError
from harness.base.wait import NotYet, seldom, wait_until
from harness.host import docker

PORT = 5432
USER = "jupyterhub"


@dataclass(frozen=True)
class Database:
    """A Postgres server in a container on the run's network, its password new for each run."""

    name: str
    network: str
    password: str

    @classmethod
    def named(cls, run_name: str, password: str) -> Database:
        return cls(name=f"{run_name}-postgres", network=run_name, password=password)

    def start(self, image: str, state: Path, databases: tuple[str, ...]) -> None:
        """Start Postgres with an empty database for each name; returns when they answer."""
        script = state / "databases.sql"
        script.write_text("".join(f"CREATE DATABASE {name} OWNER {USER};\n" for name in databases))
        make_readable(script)
        docker.start(
            self.name,
            image,
            owner=self.network,
            network=self.network,
            port=PORT,
            env={"POSTGRES_USER": USER, "POSTGRES_PASSWORD": self.password, "POSTGRES_DB": "postgres"},
            volumes={script: "/docker-entrypoint-initdb.d/databases.sql:ro"},
            # Nothing here has to survive a power cut.
            command=["postgres", "-c", "fsync=off", "-c", "full_page_writes=off"],
        )

        def answers() -> bool | NotYet:
            try:
                # Over TCP: the server that runs the script above listens on its socket alone.
                docker.docker("exec", self.name, "pg_isready", "--quiet", "--host", "127.0.0.1", "--username", USER)
            except CommandError as error:
                return NotYet(str(error))
            return True

        wait_until("Postgres", answers, timeout=60, fail_if=seldom(lambda: docker.stopped(self.network)))

    def url(self, database: str) -> str:
        """DATABASE_URL of one hub, as its pod uses it."""
        return f"postgresql://{USER}:{self.password}@{self.name}:{PORT}/{database}"

    def create(self, database: str) -> None:
        """Make an empty database; one of that name goes first."""
        for sql in (f"DROP DATABASE IF EXISTS {database} WITH (FORCE)", f"CREATE DATABASE {database} OWNER {USER}"):
            self.query("postgres", sql)

    def query(self, database: str, sql: str) -> list[list[str]]:
        """Run a query and return its rows, each a list of texts."""
        unaligned = ("--no-align", "--tuples-only", "--field-separator", "\t")
        return [line.split("\t") for line in self._psql(database, *unaligned, "--command", sql).splitlines()]

    def tables(self, database: str, *queries: str, timeout: float) -> str:
        """What queries find, as tables for people."""
        return self._psql(database, *(part for sql in queries for part in ("--command", sql)), timeout=timeout)

    def _psql(self, database: str, *args: str, timeout: float = 60) -> str:
        # Over the socket, which asks for no password: none gets into a process list.
        psql = ("psql", "--username", USER, "--dbname", database, *args)
        return docker.docker("exec", self.name, *psql, timeout=timeout)
