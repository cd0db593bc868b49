"""Stand-ins for other programs, and for other people's repositories."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import httpx

from harness.hub.api import Hub


class Program:
    """A program that writes down its arguments, a line a call, and then does as a shell script says.

    In the script, $calls is the file of the calls and $here the program's own directory.
    """

    def __init__(self, directory: Path, name: str, script: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / name
        self._calls = directory / f"{name}.calls"
        head = f'here="{directory}"; calls="{self._calls}"'
        self.path.write_text(f'#!/bin/sh\n{head}\necho "$@" >> "$calls"\n{script}\n')
        self.path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []


class FakeDocker(Program):
    """A docker whose daemon answers, with the containers and networks that it is given."""

    def __init__(self, directory: Path) -> None:
        script = """case "$1 $2" in
          "ps "*|"network ls") [ ! -f "$here/$1" ] || cat "$here/$1" ;;
          "rm "*) : > "$here/ps" ;;
          "info "*) echo / ;;
          version*) echo 28 ;;
        esac"""
        super().__init__(directory, "docker", script)

    def has(self, *parts: str) -> None:
        """Let the run jh-1 have containers of these kinds, and its network."""
        self.path.with_name("ps").write_text("".join(f"jh-1-{part}\n" for part in parts))
        self.path.with_name("network").write_text("bridge\njh-1\n")

    @property
    def changes(self) -> list[str]:
        """The calls that change something."""
        looks = ("ps ", "network ls", "version", "info ", "logs ")
        return [call for call in self.calls if not call.startswith(looks)]


def hub_that_answers(answer: Callable[[httpx.Request], httpx.Response]) -> Hub:
    """A hub whose API is a function."""
    hub = Hub("http://hub", "jupyter", "jupyterhub", "jupyterhub", "token")
    vars(hub)["api"] = httpx.Client(base_url="http://hub/hub/api", transport=httpx.MockTransport(answer))
    return hub


OL_INFRASTRUCTURE = {
    "src/ol_infrastructure/applications/jupyterhub/dynamicImageConfig.py": """
        import nowhere
        KNOWN_COURSES = ["base_authoring_image", "poetry"]
        KNOWN_COURSES.extend([f"prose_1.{part}" for part in ["intro", 2]])
        c.JupyterHub.spawner_class = nowhere.Spawner
    """,
    "src/ol_infrastructure/applications/jupyterhub/__main__.py": """
        stack = nowhere.stack()
        COURSE_NAMES = ["base_authoring_image", "poetry", "prose_1.intro", "prose_1.2"]
    """,
    "src/ol_concourse/pipelines/container_images/jupyter_courses.py": """
        jobs = [
            CourseImageInfo(image_name="base_authoring_image", s3_bucket="b", s3_object_path="a.tar"),
            CourseImageInfo(course_name="poetry", image_name="poetry", repo_uri="git@git.example:poetry.git"),
            CourseImageInfo(course_name="intro", image_name="prose_1.intro", repo_uri="git@git.example:intro"),
            CourseImageInfo(course_name="prose", image_name="prose_1.2", repo_uri="git@git.example:prose.git"),
        ]
    """,
    "src/bridge/lib/versions.py": """
        JUPYTERHUB_CHART_VERSION = "1.2.3"
    """,
    "src/ol_infrastructure/applications/jupyterhub/menu_override.json": '{"menus": "few, and\\nfewer"}',
    "src/ol_infrastructure/applications/jupyterhub/disabled_extensions.json": '{"disabledExtensions": {"a": true}}',
    "src/ol_infrastructure/applications/jupyterhub/author_menu_override.json": '{"menus": "all"}',
    "src/ol_infrastructure/applications/jupyterhub/author_disabled_extensions.json": "{}",
    "src/ol_infrastructure/applications/jupyterhub/mit_learn.svg": "<svg><title>Theirs</title></svg>",
}
"""Files of a checkout of mitodl/ol-infrastructure, as far as the harness reads them."""


def ol_infrastructure(directory: Path) -> Path:
    """A directory that looks like such a checkout."""
    for name, text in OL_INFRASTRUCTURE.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return directory
