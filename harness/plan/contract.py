"""The contract that students, authors and operators rely on: production's courses and numbers of today.

Facts from the public repository mitodl/ol-infrastructure. A deployment that offers more than this breaks no promise.
"""

from __future__ import annotations

from harness.base.quantities import GIB
from harness.plan.hubs import AUTHORING, STUDENT

ACCOUNT, REGION = "610119931565", "us-east-1"
"""Production's AWS account, and the region that it uses."""
ECR = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
"""Host name of production's private registry."""
REPOSITORY = "ol-course-notebooks"
"""Name of the course repository in ECR: one repository, one mutable tag a course."""
COURSE_REPOSITORY = f"{ECR}/{REPOSITORY}"
"""Its full name, as images have it."""

DEFAULT_COURSE = "base_authoring_image"
"""The course of a link that names none, or an unknown one."""

CPU_COURSES = frozenset(
    {
        DEFAULT_COURSE,
        "clustering_and_descriptive_ai",
        "introduction_to_data_analytics_and_machine_learning",
        "mitxt-6.3710.3x",
        "mitxt-6.3710.4x",
        "mitxt-6.3710.5x",
        "supervised_learning_fundamentals",
        "uai_source-uai.0",
        "uai_source-uai.0a",
        "uai_source-uai.6",
        "uai_source-uai.7",
        "uai_source-uai.edm1",
        "uai_source-uai.intro",
        "uai_source-uai.pm1",
        "uai_source-uai.scm1",
        "uai_source-uai.scm2",
    }
)
GPU_COURSES = frozenset(
    {
        "deep_learning_foundations_and_applications",
        "uai_source-uai.1",
        "uai_source-uai.2",
        "uai_source-uai.3",
        "uai_source-uai.4",
        "uai_source-uai.5",
        "uai_source-uai.8",
        "uai_source-uai.9",
        "uai_source-uai.11",
        "uai_source-uai.12",
        "uai_source-uai.13",
        "uai_source-uai.15",
        "uai_source-uai.haim1",
        "uai_source-uai.mltl1",
        "uai_source-uai.se1",
        "uai_source-uai.st1",
    }
)
KNOWN_COURSES = CPU_COURSES | GPU_COURSES
"""Every course that a link may name; each is the tag of its image."""

CULL_EVERY = 300.0
CULL_TIMEOUT = 900.0
CULL_MAX_AGE = 14400.0
"""Seconds between two passes of the idle culler; seconds of idleness, and of age, after which it stops a server."""
IDLE_END = {STUDENT: 7200.0, AUTHORING: 86400.0}
"""Seconds after its last use within which a server has to be gone, on each hub: authors share one, students do not."""

MEMORY_GUARANTEE, MEMORY_LIMIT = 2 * GIB, 4 * GIB
"""Bytes that each server is guaranteed, and may use."""
CPU_GUARANTEE = 0.25
SHARES = {
    "hub": {"cpu": "100m", "memory": "256Mi"},
    "proxy": {"cpu": "100m", "memory": "64Mi"},
    "user-scheduler": {"cpu": "100m", "memory": "256Mi"},
}
"""Resources that the parts of a release have, by the component that they are."""
NOT_HELD = {"hub", "user-scheduler"}
"""Parts of a release whose CPU production does not limit: a class takes a whole one of the hub for its arrival."""
WHOLE_CPU = "1"
"""The least to which their CPU may be limited."""
USER_SCHEDULERS = 2
"""Copies of the user scheduler; one places pods while a drain moves the other."""
ROOM = {STUDENT: 4, AUTHORING: 1}
"""Servers that room is kept for, on each hub."""
START_TIMEOUT = 600.0
"""Seconds that a server may take to start: a new node has to come up first, and to pull the image."""
PATIENCE = {"http_timeout": 30.0, "k8s_api_request_timeout": 3.0, "k8s_api_request_retry_timeout": 30.0}
"""Seconds that the spawner waits for a server's first answer, for one of Kubernetes, and for one after all retries:
JupyterHub's own, which production leaves as they are."""
BUSY = 60
"""Seconds for which hub and proxy may be too busy to answer Kubernetes, and for which a connection may be quiet."""
CLOSED_SERVICES = frozenset({"ClusterIP", "NodePort"})
"""Types of Services that a load balancer of AWS is not made for."""
NODE_PORTS = range(30_000, 32_768)
"""Ports that Kubernetes gives to Services of type NodePort."""
INGRESS_CLASS = "apache-apisix"
"""Class of the objects that the clusters' APISIX reads (infrastructure/aws/eks/apisix_official.py)."""
SSO_HOST = "sso.ol.mit.edu"
"""Host of the Keycloak that learners and authors log in to (keycloak:domain)."""
SSO_REALM, SSO_CLIENT = "olapps", "ol-mitlearn-client"
"""Its realm, and the client that the gate is there."""
SSO_SECRET = "secret-operations/sso/mitlearn"
"""Place in Vault of what the gate needs to be that client."""
SSO_ADDRESSES = "keycloak_realm:olapps-mitlearn-client-redirect-uris"
"""Setting with the addresses that Keycloak may send people back to from that client."""
GATED_HOSTS = {STUDENT: "nb.learn.mit.edu", AUTHORING: "authoring.nb.learn.mit.edu"}
"""Host of each hub behind the gate."""
OTHER_GATED_HOSTS = ("nb.ci.learn.mit.edu", "nb.rc.learn.mit.edu")
"""Further hosts that people may come back to from Keycloak: those of the other stacks."""
