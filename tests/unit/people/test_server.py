"""A student's own server, through a hub that is a list of answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from harness.base.timeline import Timeline
from harness.people.journey import JourneyError
from harness.people.student import Student
from tests.unit.people.conftest import never_stuck
from tests.unit.people.fake_hub import NAME, Answer, FakeHub


class TestServer:
    @pytest.mark.parametrize("status", [200, 404])
    def test_contents(self, fake: FakeHub, visit: Callable[..., Student], status: int) -> None:
        student = visit()
        student.name = NAME
        fake.answers[f"/user/{NAME}/api/contents/a%20b/c.ipynb"] = [Answer(status)]
        assert student.server.contents("a b/c.ipynb").status_code == status

    def test_page_config(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        student = visit()
        student.name = NAME
        tree = f"/user/{NAME}/tree"
        script = '<script id="jupyter-config-data" type="application/json">{"disabledExtensions": ["git"]}</script>'
        fake.answers[tree] = [Answer(200, lines=["<html>", script, "</html>"]), Answer(500)]
        assert student.server.page_config()["disabledExtensions"] == ["git"]
        with pytest.raises(JourneyError, match=f"student {NAME} has no jupyter-config-data: 500"):
            student.server.page_config()

    def test_a_saved_notebook_is_the_one_that_was_there(self, fake: FakeHub, visit: Callable[..., Student]) -> None:
        student = visit()
        student.name, student._token = NAME, "abc"
        where = f"/user/{NAME}/api/contents/a%20b.ipynb"
        fake.answers[where] = [Answer(200, lines=['{"content": {"cells": []}}']), Answer(403, lines=["not yours"])]
        with pytest.raises(JourneyError, match=r"at PUT contents/a%20b\.ipynb: 403 not yours"):
            student.server.save("a b.ipynb")
        assert fake.asked == [("GET", where), ("PUT", where)]
        assert json.loads(fake.bodies[where]) == {"type": "notebook", "format": "json", "content": {"cells": []}}

    def test_what_is_asked_of_the_server_is_told_and_no_hop(self, fake: FakeHub) -> None:
        timeline = Timeline()
        student = Student(fake.hub, never_stuck, timeline)
        student.name, student._token = NAME, "abc"
        fake.answers[f"/user/{NAME}/api/kernelspecs"] = [Answer(lines=['{"kernelspecs": {}}'])]
        student.server.kernelspecs()
        [moment] = timeline.slice(0, time.time(), student.aliases)
        assert moment.text.startswith(f"GET 200 /user/{NAME}/api/kernelspecs (")
        assert "abc" not in moment.text
        assert student.journey.hops == []
        student.close()

    def test_a_student_without_a_server(self, visit: Callable[..., Student]) -> None:
        with pytest.raises(JourneyError, match=r"student \(not logged in\) has no server: the hub started none"):
            _ = visit().server
