"""The reason why a learner may not read or change a file of their server, and the line that mends it."""

from __future__ import annotations

from harness.cluster.kind import Cluster
from harness.people.student import Student

COPY = "COPY --chown=${NB_UID}:100 . ${HOME}/"
_LOOK = """
cd "$1" && shift
for it do
    ! [ -e "$it" ] || { [ -r "$it" ] && [ -w "$it" ]; } || stat --format '%F|%U|%A|%n' "$it"
done
id -un
"""


def why_no_access(cluster: Cluster, student: Student, directory: str, *paths: str) -> str:
    """Return why a learner may not read and change the first of some files or directories; empty if they may all.

    Args:
        directory: from which relative paths count.
    """
    pod = cluster.server_pod(student.hub.namespace, student.name).metadata.name
    *closed, learner = cluster.execute(
        student.hub.namespace, pod, "sh", "-c", _LOOK, "sh", directory, *paths
    ).splitlines() or [""]
    if not closed:
        return ""
    kind, owner, mode, path = closed[0].split("|", 3)
    if owner == learner:
        mend = f"Have the Dockerfile open it: RUN chmod -R u+rwX {path}"
    elif kind == "directory":
        mend = (
            f"A WORKDIR that is not there yet is root's. Add after it: USER root, RUN chown ${{NB_UID}}:100 {path}, "
            "USER ${NB_UID}, a line each"
        )
    else:
        mend = f"Have the Dockerfile give them what it copies: {COPY}"
    return f"{path} belongs to {owner} ({mode}), and learners are {learner}. {mend}"
