"""The running monitoring: queries, targets and alerts, by way of the API server, so that no port is opened for it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from urllib3.exceptions import HTTPError

from harness.base.errors import HarnessError
from harness.base.wait import NotYet, wait_until
from harness.cluster.kind import Cluster
from harness.monitoring.addon import NAMESPACE, PORTS, PROMETHEUS, RECEIVER, STATE_METRICS

REFUSALS = ("401", "403")
APPEARS_WITHIN = 60.0
"""Seconds from an event to its place in a query's answer: a scrape, and a busy machine."""


class MonitoringError(HarnessError):
    """A part of the monitoring does not answer, or refuses a question."""


@dataclass(frozen=True)
class Sample:
    """A series' value at one time."""

    labels: Mapping[str, str]
    value: float

    def __str__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in self.labels.items() if name != "__name__")
        return f"{{{shown}}} {self.value:g}"


@dataclass(frozen=True)
class Series:
    """A series over a time: pairs of time.time() and value."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class ScrapeTarget:
    """A place that Prometheus reads.

    Attributes:
        error: why the last scrape failed; empty if it did not.
    """

    job: str
    namespace: str
    address: str
    healthy: bool
    error: str

    @property
    def refused(self) -> bool:
        """True if it answered, and would not say."""
        return any(f"HTTP status {code}" in self.error for code in REFUSALS)

    def __str__(self) -> str:
        where = f"{self.job} in {self.namespace}" if self.namespace else self.job
        if self.healthy:
            return f"{where} is read"
        return f"{where} {'refused the scrape' if self.refused else 'cannot be read'}: {self.address}: {self.error}"


@dataclass(frozen=True)
class Alert:
    """A notification about an alert, as a person's receiver gets it.

    Attributes:
        received: as time.time().
        status: firing, or resolved.
    """

    name: str
    status: str
    received: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    def __str__(self) -> str:
        severity, summary = self.labels.get("severity", "no severity"), self.annotations.get("summary", "")
        return f"{self.name} {self.status} ({severity}): {summary}"


class Monitoring:
    """The monitoring of a running copy."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def query(self, expression: str, at: float | None = None) -> list[Sample]:
        """Return the answer to a query; a scalar is one sample without labels.

        Args:
            at: as time.time(); now unless given.

        Raises:
            MonitoringError: Prometheus does not answer, or refuses the query.
        """
        found = self._prometheus("query", query=expression, **({} if at is None else {"time": str(at)}))
        if found["resultType"] == "scalar":
            return [Sample({}, float(found["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in found["result"]]

    def series(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        """Return the answer to a query over a time, a value each `step` seconds.

        Raises:
            MonitoringError: as `query`.
        """
        found = self._prometheus("query_range", query=expression, start=str(start), end=str(end), step=f"{step:g}")
        return [
            Series(each["metric"], tuple((float(at), float(value)) for at, value in each["values"]))
            for each in found["result"]
        ]

    def targets(self) -> list[ScrapeTarget]:
        """Return all places that Prometheus reads, as it found them last."""
        return [
            ScrapeTarget(
                job=each["labels"].get("job", ""),
                namespace=each["labels"].get("namespace", ""),
                address=each["scrapeUrl"],
                healthy=each["health"] == "up",
                error=each["lastError"],
            )
            for each in self._prometheus("targets", state="active")["activeTargets"]
            # One that was not read yet.
            if each["health"] != "unknown"
        ]

    def wait_until_read(self, expected: Mapping[tuple[str, str], int], timeout: float = APPEARS_WITHIN) -> None:
        """Wait until Prometheus reads so many targets of each job and namespace.

        Raises:
            NeverError: one of them refuses the scrape; the message names it.
            TooLateError: one of them cannot be read, or is not there.
        """

        def look() -> bool | NotYet:
            found = self.targets()
            there = Counter((each.job, each.namespace) for each in found if each.healthy)
            lacking = [" in ".join(filter(None, key)) for key, count in expected.items() if there[key] < count]
            trouble = [str(each) for each in found if not each.healthy and (each.job, each.namespace) in expected]
            return NotYet("; ".join(trouble) or f"no {', no '.join(lacking)}") if lacking else True

        def refusal() -> str | None:
            return next((str(each) for each in self.targets() if each.refused), None)

        wait_until("every source read by Prometheus", look, timeout=timeout, fail_if=refusal)

    def received(self, since: float = 0.0) -> list[Alert]:
        """Return the notifications that the receiver got since a time.time()."""
        alerts = [
            Alert(
                name=each["labels"].get("alertname", ""),
                status=each["status"],
                received=each["received"],
                labels=each["labels"],
                annotations=each.get("annotations", {}),
            )
            for each in json.loads(self._get(RECEIVER, "/"))
        ]
        return [alert for alert in alerts if alert.received >= since]

    def trouble(self) -> str:
        """Return why nothing can be checked by it; empty where Prometheus answers and has read the cluster's state."""
        try:
            targets = [each for each in self.targets() if each.job == STATE_METRICS]
        except MonitoringError as error:
            return str(error)
        if not targets:
            return f"Prometheus has not read {STATE_METRICS} yet"
        return next((f"{each}" for each in targets if not each.healthy), "")

    def wait_for(
        self,
        what: str,
        expression: str,
        expected: Callable[[list[Sample]], bool] = bool,
        timeout: float = APPEARS_WITHIN,
        fail_if: Callable[[], str | None] = lambda: None,
    ) -> list[Sample]:
        """Wait until the answer to a query is as expected, by default not empty, and return it.

        Raises:
            TooLateError: it was not in time; the message has the last answer.
        """

        def look() -> list[Sample] | NotYet:
            found = self.query(expression)
            return found if expected(found) else NotYet("; ".join(map(str, found)) or "no series")

        return wait_until(what, look, timeout=timeout, fail_if=fail_if)

    def wait_for_value(self, what: str, expression: str, value: float, timeout: float = APPEARS_WITHIN) -> None:
        """Wait until the answer to a query is one series of a value.

        Raises:
            TooLateError: as `wait_for`.
        """
        self.wait_for(what, expression, lambda found: [each.value for each in found] == [value], timeout)

    def wait_for_alert(
        self,
        name: str,
        namespace: str,
        since: float,
        timeout: float,
        fail_if: Callable[[], str | None] = lambda: None,
    ) -> Alert:
        """Wait until the receiver got an alert about a namespace, and return it.

        Raises:
            TooLateError: it did not in time; the message has what Prometheus says of the alert.
        """

        def look() -> Alert | NotYet:
            for alert in self.received(since):
                if (alert.name, alert.status, alert.labels.get("namespace")) == (name, "firing", namespace):
                    return alert
            state = [each.labels.get("alertstate", "") for each in self._states(name, namespace)]
            return NotYet(f"in Prometheus it is {' and '.join(state) or 'inactive'}")

        what = f"the alert {name} about {namespace} at the receiver"
        return wait_until(what, look, timeout=timeout, fail_if=fail_if)

    def _states(self, name: str, namespace: str) -> list[Sample]:
        return self.query(f'ALERTS{{alertname="{name}", namespace="{namespace}"}}')

    def _prometheus(self, what: str, **parameters: str) -> Any:
        answer = json.loads(self._get(PROMETHEUS, f"/api/v1/{what}", **parameters))
        if answer["status"] != "success":
            raise MonitoringError(f"Prometheus refuses {parameters}: {answer.get('error')}")
        return answer["data"]

    def _get(self, part: str, path: str, **parameters: str) -> str:
        api = self._cluster.api
        try:
            answer = api.call_api("GET", f"{api.configuration.host}{proxied(part)}{path}?{urlencode(parameters)}")
            text = answer.read().decode(errors="replace")
        except HTTPError as error:
            raise MonitoringError(f"{part} does not answer: {error}") from error
        if answer.status != 200:
            raise MonitoringError(f"{part} does not answer ({answer.status}): {_message(text) or answer.reason}")
        return str(text)


def proxied(part: str) -> str:
    """Return the path of a part's Service on the API server."""
    return f"/api/v1/namespaces/{NAMESPACE}/services/{part}:{PORTS[part]}/proxy"


def _message(text: str) -> str:
    """Return the words of an error: of the API server, of Prometheus, or as they are."""
    try:
        found = json.loads(text)
    except ValueError:
        return text.strip()
    return str(found.get("message") or found.get("error") or text) if isinstance(found, dict) else text
