"""Sets up the pipelines that build images of courses."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Course:
    course_name: str
    image_name: str
    repo_uri: str | None = None


EVERYTHING = [
    Course(course_name="Sums", image_name="sums", repo_uri="git@example.org:sums.git"),
    *(Course(course_name=f"Unit {n}", image_name=f"unit.{n}", repo_uri=f"git@example.org:{n}.git") for n in (1, 2)),
    Course(course_name="Blank", image_name="blank"),
]

if __name__ == "__main__":
    for kind in ("git", "s3"):
        Path(f"{kind}.json").write_text(json.dumps({"jobs": [{"name": f"build-from-{kind}"}], "resources": []}))
    print(Path("git.json").read_text(), end="")
    for course in EVERYTHING:
        source = "-c s3.json --var s3_bucket=courses --var s3_object_path=blank.tar.gz"
        if course.repo_uri:
            source = f"-c git.json --var course_repo={course.repo_uri}"
        print(f"fly -t <prod_target> set-pipeline -p images {source} --instance-var image_name={course.image_name}")
