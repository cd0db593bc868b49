"""The lists of courses, compared; and what is wrong with build jobs."""

from __future__ import annotations

import pytest

from harness.courses.consistency import differences, job_faults
from harness.program.closure import Place
from harness.program.pipelines import BuildJob

REPOSITORY = "git@git.example:poetry.git"


class TestDifferences:
    def test_none(self) -> None:
        assert differences({"a", "b"}, ["b", "a"], ("a", "b")) == []

    @pytest.mark.parametrize(
        ("lists", "sentences"),
        [
            ("known pulled", ["x is pre-pulled and has no build job: its image is never updated"]),
            (
                "known built",
                ["x is known to the spawner and never pre-pulled: its first student on a node waits for the pull"],
            ),
            ("pulled built", ["x is pre-pulled and unknown to the spawner: its links open base_authoring_image"]),
            (
                "known",
                [
                    "x is known to the spawner and never pre-pulled: its first student on a node waits for the pull",
                    "x is known to the spawner and has no build job: its image is never updated",
                ],
            ),
            (
                "pulled",
                [
                    "x is pre-pulled and unknown to the spawner: its links open base_authoring_image",
                    "x is pre-pulled and has no build job: its image is never updated",
                ],
            ),
            (
                "built",
                [
                    "x is built and unknown to the spawner: its links open base_authoring_image",
                    "x is built and never pre-pulled: its first student on a node waits for the pull",
                ],
            ),
        ],
    )
    def test_each_list_that_lacks_a_course_is_named(self, lists: str, sentences: list[str]) -> None:
        known, pulled, built = ({"x", "same"} if it in lists else {"same"} for it in ("known", "pulled", "built"))
        assert differences(known, pulled, built) == sentences

    def test_sorted_by_course(self) -> None:
        found = differences({"c", "a"}, {"b", "a", "c"}, {"a", "b"})
        assert [sentence.split()[0] for sentence in found] == ["b", "c"]


class TestJobFaults:
    @pytest.mark.parametrize(
        "job",
        [
            BuildJob("poetry", repo_uri=REPOSITORY),
            BuildJob("poetry", repo_uri=REPOSITORY.removesuffix(".git")),
            BuildJob("prose_1.2-a", s3_bucket="bucket", s3_object_path="a.tar.gz"),
        ],
    )
    def test_sound(self, job: BuildJob) -> None:
        assert job_faults([job, BuildJob("other", repo_uri="git@git.example:other.git")]) == []

    @pytest.mark.parametrize(
        ("job", "fault"),
        [
            (
                BuildJob("poetry", repo_uri=f" {REPOSITORY}", place=Place("j.py", 7)),
                f"the build job of 'poetry' (j.py, line 7): its repo_uri ' {REPOSITORY}' begins or ends with a "
                "blank, as no repository's does",
            ),
            (
                BuildJob("poetry", repo_uri=f"{REPOSITORY}\n", place=Place("j.py", 7)),
                f"the build job of 'poetry' (j.py, line 7): its repo_uri '{REPOSITORY}\\n' begins or ends with a "
                "blank, as no repository's does",
            ),
            *(
                (
                    BuildJob(name, repo_uri=REPOSITORY, place=Place("j.py", 7)),
                    f"the build job of {name!r} (j.py, line 7): its image_name is no image tag (letters, digits, _ . - "
                    "and at most 128 of them)",
                )
                for name in (
                    "",
                    "po etry",
                    "poetry ",
                    ".poetry",
                    "-poetry",
                    "poetry:1",
                    "poésie",
                    "poetry\n",
                    "a" * 129,
                )
            ),
            *(
                (
                    BuildJob("poetry", repo_uri=repository, s3_bucket=bucket, place=Place("j.py", 7)),
                    "the build job of 'poetry' (j.py, line 7): it has neither a repo_uri nor an s3_bucket with an "
                    "s3_object_path to build from",
                )
                for repository, bucket in ((None, None), ("", None), (None, "bucket"))
            ),
        ],
    )
    def test_one_job(self, job: BuildJob, fault: str) -> None:
        assert job_faults([job]) == [fault]

    def test_one_name_for_two(self) -> None:
        jobs = [
            BuildJob("a", repo_uri="one", place=Place("j.py", 7)),
            BuildJob("b", repo_uri="two"),
            BuildJob("a", repo_uri="three", place=Place("j.py", 9)),
        ]
        assert job_faults(jobs) == [
            "the build jobs of j.py, line 7 and j.py, line 9 have one image_name, a: only the pipeline that is set "
            "last stays"
        ]

    @pytest.mark.parametrize("same", [REPOSITORY, REPOSITORY.removesuffix(".git")])
    def test_one_repository_for_two(self, same: str) -> None:
        assert job_faults([BuildJob("a", repo_uri=REPOSITORY), BuildJob("b", repo_uri=same)]) == [
            "the build jobs of a and b have one repo_uri, git@git.example:poetry: their images are the same"
        ]

    def test_archives_have_no_repository_in_common(self) -> None:
        jobs = [BuildJob(name, s3_bucket="b", s3_object_path=f"{name}.tgz") for name in ("a", "b")]
        assert job_faults(jobs) == []
