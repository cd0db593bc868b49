"""Answers what this hub makes of its configuration: the pods its spawner would create, and the settings in force.

It runs inside the hub's own image and under its configuration. Arguments: those of the hub's own command line. Each
line of standard input: a JSON list of requests. Each line of standard output: a JSON object, `answers` in the order of
the requests and `configuration` by class. See harness/hub/spawner_probe.py, which has the form of both.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import uuid
from collections.abc import Callable, Mapping
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

SECRET = re.compile(r"token|secret|passw|crypt|credential|db_url|_key$|^keys$", re.IGNORECASE)
"""Part of a setting's name whose text stays here. Numbers are no secrets: a token's lifetime is one."""
LEFT_OUT = "(left out)"


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
    connection: Any = SimpleNamespace(set_close_callback=lambda _: None)
    start = RequestStartLine("GET", f"/hub/spawn?{query}", "HTTP/1.1")
    headers = HTTPHeaders({"Host": "hub"})
    request = HTTPServerRequest(connection=connection, start_line=start, headers=headers)
    return RequestHandler(Application(), request)


def new_spawner(app: JupyterHub, db: Any) -> Any:
    """Return the spawner of a new user, as this hub makes it."""
    known = orm.User(name=str(uuid.uuid4()))
    db.add(known)
    db.commit()
    hub = Hub(base_url="/hub/", ip="127.0.0.1", port=8081)
    user = User(known, {"spawner_class": app.spawner_class, "config": app.config, "hub": hub, "base_url": "/"})
    return user.spawners[""]


async def answer(spawner: Any, request: dict[str, Any], kubernetes: ApiClient) -> dict[str, Any]:
    """Do as JupyterHub's spawn handlers do for a user, up to the pod (jupyterhub/handlers/pages.py, user.py)."""
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
        await prepare(spawner)
        await maybe_future(spawner.start())
    except Created as created:
        return {"pod": kubernetes.sanitize_for_serialization(created.pod), "spawner": in_force(spawner)}
    except (Exception, SystemExit) as error:  # noqa: BLE001  # any error of a spawner is its answer
        return {"error": describe(error)}
    return {"error": "the spawner started something without asking for a pod"}


async def prepare(spawner: Any) -> None:
    """Do what a hub does between a request and its spawner's start, as far as its version knows of it."""
    await maybe_future(spawner.run_auth_state_hook(None))
    if hasattr(spawner, "apply_group_overrides"):
        await spawner.apply_group_overrides()
    if hasattr(spawner, "_run_apply_user_options"):
        await spawner._run_apply_user_options(spawner.user_options)
    await maybe_future(spawner.run_pre_spawn_hook())


def configuration(app: JupyterHub, db: Any) -> dict[str, Any]:
    """Return the settings in force for the hub as a whole: of each of its parts, and under `given` as they were set."""
    parts: dict[str, Callable[[], Any]] = {
        "JupyterHub": lambda: app,
        "Authenticator": lambda: app.authenticator_class(parent=app),
        "Proxy": lambda: app.proxy_class(parent=app),
        "Spawner": lambda: new_spawner(app, db),
    }
    # A section is a class: its name is no secret's, whatever it has in it.
    given = {name: plain("", section) for name, section in app.config.items()}
    return {name: settings(make) for name, make in parts.items()} | {"given": given}


def settings(make: Callable[[], Any]) -> dict[str, Any]:
    """Return the settings of a part of the hub, or the error in which its making ends."""
    try:
        return in_force(make())
    except Exception as error:  # noqa: BLE001  # any error of a class of anybody's is its answer
        return {"error": describe(error)}


def in_force(part: Any) -> dict[str, Any]:
    """Return every setting of a part of the hub with its value, be it set or a default.

    Under `class` is its class, and under `sections` are the sections of the configuration that it reads.
    """
    found: dict[str, Any] = {
        "class": f"{type(part).__module__}.{type(part).__qualname__}",
        "sections": type(part).section_names(),
    }
    for name in part.trait_names(config=True):
        try:
            found[name] = plain(name, getattr(part, name))
        except Exception as error:  # noqa: BLE001  # a default may ask for something that is not here
            found[name] = f"(unknown: {describe(error)})"
    return found


def plain(name: str, value: Any) -> Any:
    """Return a setting's value as JSON has it, without secrets; a function or an object becomes its name."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if SECRET.search(name):
        return LEFT_OUT
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(name, each) for each in value]
    return f"({getattr(value, '__qualname__', type(value).__qualname__)})"


def describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


async def main() -> None:
    # Nothing but answers goes there: what the configuration prints is an error's explanation.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    app = JupyterHub()
    app.parse_command_line(sys.argv[1:])
    app.load_config_file(app.config_file)
    db = orm.new_session_factory("sqlite:///:memory:")()
    async with ApiClient() as kubernetes:
        made = configuration(app, db)
        for line in sys.stdin:
            answers = [await answer(new_spawner(app, db), request, kubernetes) for request in json.loads(line)]
            print(json.dumps({"answers": answers, "configuration": made}), file=output, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
