"""An author: logs in to the authors' hub by the shared password, and asks for a course's image in the form."""

from __future__ import annotations

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
            SpawnError, JourneyError: as `open`.
        """
        if "course" not in self.see_form():
            raise JourneyError(f"The form at /hub/spawn has no field for a course\n{self.journey}")
        [action] = re.findall(r'<form[^>]*action="([^"]*)"', self.form)[:1] or ["/hub/spawn"]
        fields = {"course": course, "_xsrf": self._xsrf}
        answer = self.request("POST", unquote(action), data=fields)
        return self._arrive(f"the form with {course}", answer, expects_server=True)
