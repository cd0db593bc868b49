"""A service: one container beside the cluster, on the run's network. What all services share is here."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self, TypeVar, cast

import httpx

from harness.artifacts.oci import OciImage
from harness.base import http
from harness.base.errors import HarnessError
from harness.base.wait import NotYet, seldom, wait_until
from harness.host import docker

HEALTH_TIMEOUT = 5.0
"""Seconds that a service has to answer one question about its health."""


@dataclass(frozen=True)
class Content:
    """Content that services have from their start.

    Attributes:
        databases: names of the hubs' databases, for Postgres.
        images: images by full name, for the registry.
    """

    databases: tuple[str, ...] = ()
    images: Mapping[str, OciImage] = field(default_factory=dict)


@dataclass(frozen=True)
class Service(ABC):
    """A service of one run.

    Attributes:
        run: name of the run, which its network has as well.
        state: the run's directory, for files that the container mounts.
    """

    NAME: ClassVar[str]
    """Its folder in images/, its table in images/versions.toml, and the end of its container's name."""
    TITLE: ClassVar[str]
    """Its name in messages."""
    WITHOUT_IT: ClassVar[str]
    """Consequence for the run when its container does not run."""
    PORT: ClassVar[int]
    """Port inside its container."""
    START_TIMEOUT: ClassVar[float] = 60.0
    """Seconds from the start of its container until it is healthy."""
    SECRETS: ClassVar[tuple[str, ...]] = ()
    """Names of the passwords that it needs, new for each cluster."""
    ON_DEMAND: ClassVar[bool] = False
    """It is made and started when a test asks for it (harness/deployment/on_demand.py), and not with the cluster."""

    run: str
    state: Path

    @classmethod
    def create(cls, run: str, state: Path, secrets: Mapping[str, str], earlier: Services) -> Self:
        """Describe the service of a run; nothing is started.

        Args:
            secrets: passwords by name, all those of `SECRETS` among them.
            earlier: services before it in the list, for one that needs another.
        """
        return cls(run, state)

    @property
    def name(self) -> str:
        """Name of the container, and of its host on the run's network."""
        return f"{self.run}-{self.NAME}"

    @property
    def location(self) -> str:
        """host:port on the run's network: for nodes, pods and other services."""
        return f"{self.name}:{self.PORT}"

    @functools.cached_property
    def address(self) -> str:
        """host:port on loopback."""
        return docker.published(self.name, self.PORT)

    def start(self, image: str, content: Content) -> None:
        """Start the container and wait until the service is healthy.

        Raises:
            NeverError, TooLateError: it does not become healthy; a container that died is named, with its last line.
        """
        self.launch(image, content)
        self.wait()

    def wait(self) -> None:
        """Wait until the service, whose container was started, is healthy.

        Raises:
            NeverError, TooLateError: as `start`.
        """
        # Beside it, a cluster that was stopped may come back, or not.
        stopped = seldom(lambda: docker.stopped(self.run, [self.name], others=False))
        wait_until(self.TITLE, self.is_healthy, timeout=self.START_TIMEOUT, fail_if=stopped)
        self.set_up()

    def stop(self) -> None:
        """Stop the container, which keeps its files."""
        docker.docker("stop", "--time", "2", self.name)

    def resume(self) -> None:
        """Start the stopped container again, and wait until the service is healthy: at another loopback port.

        Raises:
            NeverError, TooLateError: as `start`.
        """
        docker.docker("start", self.name)
        vars(self).pop("address", None)
        self.wait()

    @abstractmethod
    def launch(self, image: str, content: Content) -> None:
        """Start the container with `run_container`."""

    @abstractmethod
    def is_healthy(self) -> bool | NotYet:
        """Check once whether the service answers as it should."""

    def set_up(self) -> None:  # noqa: B027  # most services need nothing
        """Make what the service must have and cannot be started with."""

    def run_container(
        self,
        image: str,
        *,
        aliases: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        volumes: Mapping[Path, str] | None = None,
        user: str = "",
        command: Sequence[str] = (),
    ) -> None:
        """Start the container on the run's network; parameters are those of `docker.start`."""
        docker.start(
            self.name,
            image,
            owner=self.run,
            network=self.run,
            ports=(self.PORT,),
            on_demand=self.ON_DEMAND,
            aliases=aliases,
            env=env,
            volumes=volumes,
            user=user,
            command=command,
        )


class HttpService(Service):
    """A service whose health is the status of a page."""

    HEALTH_PATH: ClassVar[str] = "/"
    HEALTHY_STATUS: ClassVar[int] = 200

    @property
    def url(self) -> str:
        """URL on loopback."""
        return f"http://{self.address}"

    def is_healthy(self) -> bool | NotYet:
        try:
            status = http.get(f"{self.url}{self.HEALTH_PATH}", timeout=HEALTH_TIMEOUT).status_code
        except httpx.TransportError as error:
            return NotYet(str(error) or type(error).__name__)
        if status != self.HEALTHY_STATUS:
            return NotYet(f"{self.HEALTH_PATH}: status {status}, expected {self.HEALTHY_STATUS}")
        return True


S = TypeVar("S", bound=Service)


class Services:
    """The services of one run, by class, in the order in which they start."""

    def __init__(self, kinds: Iterable[type[Service]], run: str, state: Path, secrets: Mapping[str, str]) -> None:
        self._services: dict[type[Service], Service] = {}
        for kind in kinds:
            self._services[kind] = kind.create(run, state, secrets, self)

    def __getitem__(self, kind: type[S]) -> S:
        return cast(S, self._services[kind])

    def __iter__(self) -> Iterator[Service]:
        return iter(self._services.values())

    def start(self, images: Mapping[str, str], content: Content) -> None:
        """Start the services that belong to every run, one after the other, and wait until each is healthy.

        Args:
            images: the image of each service by its name, as `Artifacts.services` has them.

        Raises:
            HarnessError: a service has no image, or does not become healthy.
        """
        wanted = [service for service in self if not service.ON_DEMAND]
        if lacking := [service.NAME for service in wanted if service.NAME not in images]:
            raise HarnessError(
                f"There is no image for the service {lacking[0]}. Add [services.{lacking[0]}] to images/versions.toml."
            )
        for service in wanted:
            service.start(images[service.NAME], content)
