"""An author: logs in to the authors' hub by the shared password, and asks for a course's image in the form."""

from __future__ import annotations

import html
import re
from urllib.parse import unquote

from harness.people.journey import JourneyError, Page
from harness.people.student import Student

NAME = "admin"
"""The one name that may log in, which all authors share, and with it one server."""


class Author(Student):
    """A visitor of the authors' hub, who logs in and fills in the form; see Visitor for the arguments."""

    role = "author"
    form = ""
    """HTML of the spawn form, once the author has opened it."""

    def log_in(self, password: str, name: str = NAME) -> int:
        """Fill in the login form and send it; return the status of the answer, 302 for a login that succeeded."""
        page = self.get("/hub/login")
        if page.is_error or 'name="password"' not in page.text:
            raise JourneyError(f"No login form at /hub/login: {page.status_code}\n{self.journey}")
        fields = {"username": name, "password": password, "_xsrf": self._xsrf}
        return self.request("POST", "/hub/login", data=fields).status_code

    def see_form(self) -> list[str]:
        """Open the spawn form, and return the names of the fields that it is rendered with."""
        page = self.get("/hub/spawn")
        if page.is_redirect:
            page = self.get(page.headers["location"])
        self.form = page.text
        return re.findall(r'<(?:input|select|textarea)[^>]*name="([^"]+)"', self.form)

    def ask_for(self, course: str) -> Page:
        """Fill in the form as it was rendered, send it, and wait for the server.

        Raises:
            SpawnError, JourneyError: as `open`; or the form has no such course.
        """
        if "course" not in self.see_form():
            raise JourneyError(f"The form at /hub/spawn has no field for a course\n{self.journey}")
        [action] = re.findall(r'<form[^>]*action="([^"]*)"', self.form)[:1] or ["/hub/spawn"]
        fields = {"course": self._as_offered(course), "_xsrf": self._xsrf}
        answer = self.request("POST", unquote(action), data=fields)
        return self._arrive(f"the form with {course}", answer, expects_server=True)

    def _as_offered(self, course: str) -> str:
        """Return a course as the form sends it: as it is, or the value of the option where the field is a list."""
        field = re.search(r'<select[^>]*name="course".*?</select>', self.form, re.DOTALL)
        if not field:
            return course
        options = re.findall(r'<option(?:[^>]*?\bvalue="([^"]*)")?[^>]*>([^<]*)', field[0])
        offered = [html.unescape(value or text.strip()) for value, text in options]
        found = next((each for each in offered if each.lower() == course.lower()), None)
        if found is None:
            raise JourneyError(
                f"The form at /hub/spawn is a list without {course}. It has {len(offered)} options: "
                f"{', '.join(offered[:5])}\n{self.journey}"
            )
        return found
