"""Answers which pods this hub's spawner would create, inside the hub's own image and under its configuration.

Arguments: those of the hub's own command line. Standard input: a JSON list of requests. Last line of standard output: a
JSON list of answers. See harness/hub/spawner_probe.py, which has the form of both.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from types import SimpleNamespace
from typing import Any

from jupyterhub import orm
from jupyterhub.app import JupyterHub
from jupyterhub.objects import Hub
from jupyterhub.user import User
from jupyterhub.utils import maybe_future
from kubernetes_asyncio.client import ApiClient
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application, RequestHandler


class Created(BaseException):
    """A pod was asked for. Not an Exception: no code on the way may take it for a failure and try again."""

    def __init__(self, pod: Any) -> None:
        self.pod = pod


class PodCatcher:
    """The part of the Kubernetes API that a spawner reaches before its pod is created."""

    async def create_namespaced_pod(self, namespace: str, pod: Any, **_: Any) -> None:
        raise Created(pod)


def follow(query: str) -> RequestHandler:
    """Return a request handler as a link's GET has it."""
    # The only part of a connection that a request uses; nothing is sent, so there is no real one.
    connection = SimpleNamespace(set_close_callback=lambda _: None)
    start = RequestStartLine("GET", f"/hub/spawn?{query}", "HTTP/1.1")
    headers = HTTPHeaders({"Host": "hub"})
    request = HTTPServerRequest(connection=connection, start_line=start, headers=headers)  # type: ignore[arg-type]
    return RequestHandler(Application(), request)


def new_user(app: JupyterHub, db: Any) -> User:
    """Return a new user, with a spawner as this hub makes it."""
    known = orm.User(name=str(uuid.uuid4()))
    db.add(known)
    db.commit()
    hub = Hub(base_url="/hub/", ip="127.0.0.1", port=8081)
    return User(known, {"spawner_class": app.spawner_class, "config": app.config, "hub": hub, "base_url": "/"})


async def answer(user: User, request: dict[str, Any], kubernetes: ApiClient) -> dict[str, Any]:
    """Do as JupyterHub's spawn handlers do for a user, up to the pod (jupyterhub/handlers/pages.py, user.py)."""
    spawner = user.spawners[""]
    spawner.api = PodCatcher()
    spawner.api_token = "of no user"
    try:
        if request["query"] is not None:
            spawner.handler = follow(request["query"])
        if "options" in request:
            options = request["options"]
        elif "form" in request:
            options = await maybe_future(spawner.run_options_from_form(request["form"]))
        elif request["query"]:
            arguments = spawner.handler.request.query_arguments
            asked = {name: [value.decode() for value in values] for name, values in arguments.items()}
            options = await maybe_future(spawner.options_from_query(asked))
        else:
            options = {}
        spawner.user_options = options
        await maybe_future(spawner.start())
    except Created as created:
        return {"pod": kubernetes.sanitize_for_serialization(created.pod)}
    except Exception as error:  # noqa: BLE001  # any error of a spawner is its answer
        return {"error": f"{type(error).__name__}: {error}"}
    return {"error": "the spawner started something without asking for a pod"}


async def main() -> None:
    app = JupyterHub()
    app.parse_command_line(sys.argv[1:])
    app.load_config_file(app.config_file)
    db = orm.new_session_factory("sqlite:///:memory:")()
    async with ApiClient() as kubernetes:
        answers = [await answer(new_user(app, db), request, kubernetes) for request in json.load(sys.stdin)]
    print(json.dumps(answers))


asyncio.run(main())
