"""The custom spawner: the query string of a link chooses the course image, its first notebook and the GPU.

The hub's chart executes this file as the last part of jupyterhub_config.py, where `c` is the configuration.
"""
# ruff: noqa: F821 (c is JupyterHub's)

import os
from collections.abc import Awaitable
from typing import Any

from kubespawner import KubeSpawner

COURSE_IMAGES = "610119931565.dkr.ecr.us-east-1.amazonaws.com/ol-course-notebooks"
DEFAULT_COURSE = "base_authoring_image"

CPU_COURSES = {
    DEFAULT_COURSE,
    "clustering_and_descriptive_ai",
    "introduction_to_data_analytics_and_machine_learning",
    "mitxt-6.3710.3x",
    "mitxt-6.3710.4x",
    "mitxt-6.3710.5x",
    "supervised_learning_fundamentals",
    *(f"uai_source-uai.{part}" for part in ["intro", 0, "0a", 6, 7, "edm1", "pm1", "scm1", "scm2"]),
}
GPU_ENABLED_COURSES = {
    "deep_learning_foundations_and_applications",
    *(f"uai_source-uai.{part}" for part in [1, 2, 3, 4, 5, 8, 9, 11, 12, 13, 15, "haim1", "mltl1", "se1", "st1"]),
}
KNOWN_COURSES = CPU_COURSES | GPU_ENABLED_COURSES

GPU_NODE = {"matchExpressions": [{"key": "ol.mit.edu/gpu_node", "operator": "In", "values": ["true"]}]}
ONE_GPU = {"nvidia.com/gpu": "1"}

COURSE_FORM = """
<div class="form-group">
  <label for="course">Course Image Label</label>
  <input id="course" name="course" class="form-control" placeholder="e.g. uai_source-uai.st1">
</div>
"""


class QueryStringKubeSpawner(KubeSpawner):
    """Starts a server from the course's own image, and from the default one where no course is asked for."""

    def start(self) -> Awaitable[tuple[str, int]]:
        self.image = f"{COURSE_IMAGES}:{DEFAULT_COURSE}"
        # Without a handler no link was followed: the hub itself starts the server.
        if self.handler:
            self._follow_link()
        return super().start()

    def _follow_link(self) -> None:
        course, notebook, tag, needs_gpu = (
            self.handler.get_query_argument(name, "") for name in ("course", "notebook", "tag", "needs_gpu")
        )
        course = course.lower() or self.user_options.get("course", "").lower()
        # A tag is how an author tries an image that is no course yet, so it is not looked up anywhere.
        if course not in KNOWN_COURSES and not tag:
            return

        self.image = f"{COURSE_IMAGES}:{tag.lower() or course}"
        if needs_gpu or course in GPU_ENABLED_COURSES:
            self.node_affinity_required = [GPU_NODE]
            self.extra_resource_limits = ONE_GPU
            self.extra_resource_guarantees = ONE_GPU
        if notebook.endswith(".ipynb"):
            self.default_url = f"/notebooks/{notebook}"

    def _options_form_default(self) -> str:
        return COURSE_FORM

    def options_from_form(self, formdata: dict[str, list[str]]) -> dict[str, Any]:
        return {"course": formdata.get("course", [""])[0].strip()}


c.JupyterHub.spawner_class = QueryStringKubeSpawner
c.JupyterHub.db_url = os.environ["DATABASE_URL"]
c.JupyterHub.logo_file = "/opt/mit_learn.svg"
c.JupyterHub.template_vars = {"logo_url": "https://learn.mit.edu/dashboard"}
# One item, because the chart has put settings of its own there.
c.JupyterHub.tornado_settings["cookie_options"] = {"expires_days": 1}
# Without it, neither authenticator admits a user.
c.Authenticator.allow_all = True
