"""Tests of the client of the running monitoring, on answers that are played."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from urllib3.exceptions import ProtocolError

from harness.base.wait import NeverError, TooLateError
from harness.monitoring.client import Monitoring, MonitoringError

READ = {"labels": {"job": "kube-state-metrics"}, "scrapeUrl": "http://ksm/metrics", "health": "up", "lastError": ""}
REFUSED = {
    "labels": {"job": "jupyterhub", "namespace": "jupyter"},
    "scrapeUrl": "http://hub.jupyter:8081/hub/metrics",
    "health": "down",
    "lastError": "server returned HTTP status 403 Forbidden",
}
UNREAD = {**REFUSED, "labels": {"job": "kube-state-metrics"}, "lastError": "connect: connection refused"}
FIRING = {
    "labels": {"alertname": "JupyterHubExited", "namespace": "jupyter", "severity": "critical"},
    "annotations": {"summary": "The hub ended itself.", "action": "Read its log."},
    "status": "firing",
    "received": 100.0,
}


def monitoring(answer: Callable[[str, dict[str, str]], Any]) -> Monitoring:
    """A monitoring whose parts answer as a function says, given the path in their Service and the parameters."""

    def call_api(method: str, url: str) -> Any:
        parts = urlsplit(url)
        found = answer(parts.path.partition("/services/")[2], dict(parse_qsl(parts.query)))
        status, content = found if isinstance(found, tuple) else (200, found)
        return SimpleNamespace(status=status, reason="No", read=lambda: json.dumps(content).encode())

    api = SimpleNamespace(call_api=call_api, configuration=SimpleNamespace(host="https://api"))
    cluster: Any = SimpleNamespace(api=api)
    return Monitoring(cluster)


def prometheus(data: Any) -> Callable[[str, dict[str, str]], Any]:
    return lambda path, _: {"status": "success", "data": data}


def refusing(status: int, content: Any) -> Callable[[str, dict[str, str]], Any]:
    return lambda path, _: (status, content)


class TestQuery:
    def test_samples(self) -> None:
        asked: list[tuple[str, dict[str, str]]] = []

        def answer(path: str, parameters: dict[str, str]) -> Any:
            asked.append((path, parameters))
            result = [{"metric": {"course": "a"}, "value": [1, "2"]}]
            return {"status": "success", "data": {"resultType": "vector", "result": result}}

        [sample] = monitoring(answer).query("up")
        assert (sample.labels, sample.value, str(sample)) == ({"course": "a"}, 2.0, "{course=a} 2")
        assert asked == [("prometheus:9090/proxy/api/v1/query", {"query": "up"})]

    def test_a_scalar(self) -> None:
        assert monitoring(prometheus({"resultType": "scalar", "result": [1, "3"]})).query("3")[0].value == 3

    def test_a_series(self) -> None:
        result = [{"metric": {}, "values": [[1, "2"], [3, "4"]]}]
        [series] = monitoring(prometheus({"resultType": "matrix", "result": result})).series("up", 0, 3, 1)
        assert series.points == ((1, 2), (3, 4))

    def test_a_refusal_has_prometheus_words(self) -> None:
        refused = refusing(400, {"status": "error", "error": "parse error: unexpected end"})
        with pytest.raises(MonitoringError, match=r"prometheus does not answer \(400\): parse error: unexpected end"):
            monitoring(refused).query("sum(")


class TestTrouble:
    def test_none(self) -> None:
        assert monitoring(prometheus({"activeTargets": [READ]})).trouble() == ""

    def test_prometheus_is_gone(self) -> None:
        refused = refusing(503, {"message": 'no endpoints available for service "prometheus:9090"'})
        expected = 'prometheus does not answer (503): no endpoints available for service "prometheus:9090"'
        assert monitoring(refused).trouble() == expected

    def test_the_api_server_is_gone(self) -> None:
        def gone(path: str, parameters: dict[str, str]) -> Any:
            raise ProtocolError("Connection aborted.")

        assert monitoring(gone).trouble() == "prometheus does not answer: Connection aborted."

    def test_the_state_of_the_cluster_is_not_read(self) -> None:
        found = monitoring(prometheus({"activeTargets": [UNREAD]})).trouble()
        assert found.startswith("kube-state-metrics cannot be read: http://hub.jupyter:8081/hub/metrics: connect")

    def test_nothing_was_read_yet(self) -> None:
        unknown = {**READ, "health": "unknown"}
        expected = "Prometheus has not read kube-state-metrics yet"
        assert monitoring(prometheus({"activeTargets": [unknown]})).trouble() == expected


class TestTargets:
    def test_a_refusal_names_who_refused(self) -> None:
        [target] = monitoring(prometheus({"activeTargets": [REFUSED]})).targets()
        assert target.refused
        assert str(target) == (
            "jupyterhub in jupyter refused the scrape: http://hub.jupyter:8081/hub/metrics: "
            "server returned HTTP status 403 Forbidden"
        )

    def test_a_wait_for_one_that_refuses_ends_at_once(self) -> None:
        with pytest.raises(NeverError, match="jupyterhub in jupyter refused the scrape"):
            monitoring(prometheus({"activeTargets": [REFUSED]})).wait_until_read({("jupyterhub", "jupyter"): 1})

    def test_a_wait_for_one_that_is_not_there_names_it(self) -> None:
        with pytest.raises(TooLateError, match="no jupyterhub in jupyter"):
            monitoring(prometheus({"activeTargets": [READ]})).wait_until_read({("jupyterhub", "jupyter"): 1}, 0)

    def test_they_are_read(self) -> None:
        monitoring(prometheus({"activeTargets": [READ]})).wait_until_read({("kube-state-metrics", ""): 1}, 0)


class TestAlerts:
    def answer(self, path: str, parameters: dict[str, str]) -> Any:
        if path.startswith("alert-receiver:8080/"):
            return [FIRING, {**FIRING, "status": "resolved", "received": 200.0}]
        return {"status": "success", "data": {"resultType": "vector", "result": []}}

    def test_received(self) -> None:
        alerts = monitoring(self.answer).received()
        assert [str(each) for each in alerts] == [
            "JupyterHubExited firing (critical): The hub ended itself.",
            "JupyterHubExited resolved (critical): The hub ended itself.",
        ]
        assert [each.status for each in monitoring(self.answer).received(since=150)] == ["resolved"]

    def test_the_one_that_is_waited_for(self) -> None:
        found = monitoring(self.answer).wait_for_alert("JupyterHubExited", "jupyter", 0, 0)
        assert found.annotations["action"] == "Read its log."

    def test_one_that_does_not_come(self) -> None:
        message = "the alert JupyterHubExited about jupyter-authoring at the receiver: .* in Prometheus it is inactive"
        with pytest.raises(TooLateError, match=message):
            monitoring(self.answer).wait_for_alert("JupyterHubExited", "jupyter-authoring", 0, 0)
