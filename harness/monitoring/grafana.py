"""Grafana, provisioned with the dashboard; there is only its published image, which nodes pull.

Written to Grafana's documentation, and never run: no image of it could be pulled where this was made.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml
from kubernetes import client

from harness.monitoring.panels import UID

GRAFANA, PORT = "grafana", 3000
"""The part's name, its image's key in versions.toml, and its port."""
NOT_PUBLISHED = "Grafana: only its published image is to be had, by --artifacts pull; it was never run here"
DASHBOARD_PATH = f"/d/{UID}?kiosk&from=now-15m&to=now"
"""The page of the dashboard alone, over the minutes of a run."""
PASSED_ON, RETURNED = frozenset({"accept", "content-type"}), frozenset({"content-type", "cache-control", "location"})
"""Headers of a request, and of an answer, that a relay keeps."""
PLACES = {
    "datasources": "/etc/grafana/provisioning/datasources",
    "dashboards": "/etc/grafana/provisioning/dashboards",
    "dashboard": "/var/lib/grafana-dashboards",
}
"""Directories that are mounted, by the key of their files."""
ENVIRONMENT = {
    # A person may look without a login, and change nothing; the way to it is the API server alone.
    "GF_AUTH_ANONYMOUS_ENABLED": "true",
    "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
    "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION": "true",
    # Nothing of it leaves the cluster.
    "GF_ANALYTICS_REPORTING_ENABLED": "false",
    "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
    "GF_NEWS_NEWS_FEED_ENABLED": "false",
    "GF_LOG_MODE": "console",
    "GF_PATHS_PROVISIONING": "/etc/grafana/provisioning",
}


def provisioning(prometheus: str, dashboard: str) -> dict[str, dict[str, str]]:
    """Return the files of each directory in PLACES: Prometheus as the source of data, and the dashboard.

    Args:
        prometheus: its URL within the cluster. Its alert rules are shown by way of it.
        dashboard: as JSON.
    """
    source = {
        "name": "Prometheus",
        "uid": "prometheus",
        "type": "prometheus",
        "access": "proxy",
        "url": prometheus,
        "isDefault": True,
        "editable": False,
        "jsonData": {"timeInterval": "5s", "prometheusType": "Prometheus"},
    }
    provider = {"name": "harness", "type": "file", "disableDeletion": True, "options": {"path": PLACES["dashboard"]}}
    return {
        "datasources": {"prometheus.yaml": _yaml({"apiVersion": 1, "datasources": [source]})},
        "dashboards": {"harness.yaml": _yaml({"apiVersion": 1, "providers": [provider]})},
        "dashboard": {"dashboard.json": dashboard},
    }


@contextmanager
def relay(api: client.ApiClient, place: str) -> Iterator[str]:
    """Serve a Service of the cluster on loopback, by way of the API server, while the context is open; yield its URL.

    Args:
        place: path of the Service's proxy on the API server, without a slash at its end.
    """

    class Handler(BaseHTTPRequestHandler):
        """One request, passed on."""

        def do_GET(self) -> None:
            self._pass_on("GET")

        def do_POST(self) -> None:
            self._pass_on("POST")

        def _pass_on(self, method: str) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kept = {name: value for name, value in self.headers.items() if name.lower() in PASSED_ON}
            # The API server writes the links of a page anew, so that they lead by way of it.
            path = self.path.removeprefix(place)
            # The client writes JSON itself.
            content = json.loads(sent) if sent else None
            answer = api.call_api(method, f"{api.configuration.host}{place}{path}", kept, content)
            body = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders().items():
                if name.lower() in RETURNED:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Write no line for each request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False)
