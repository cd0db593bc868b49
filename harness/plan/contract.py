"""The contract that students, authors and operators rely on: production's courses and numbers of today.

Facts from the public repository mitodl/ol-infrastructure. A deployment that offers more than this breaks no promise.
"""

from __future__ import annotations

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
