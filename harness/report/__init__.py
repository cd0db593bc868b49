"""The reports of a run, for people.

courses     a course's notebooks: a table for the terminal, and a page
run         the promises, and the time: report.html
picture     the time of a run: timings.svg, and a part of the page
graphs      what the monitoring showed meanwhile, on the same clock: graphs.svg, and a part of the page
summary     the same in Markdown, for a CI's own page
words       the conclusion and other sentences that all of them share
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from harness.base.errors import HarnessError

HERE = Path(__file__).parent


def render(template: str, filters: dict[str, Any], directory: Path = HERE, **about: Any) -> str:
    """Fill in a template; its values are escaped.

    Raises:
        HarnessError: it asks for a value that it was not given.
    """
    found = FileSystemLoader(directory)
    environment = Environment(
        loader=found, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= filters
    try:
        return environment.get_template(template).render(**about)
    except TemplateError as error:
        raise HarnessError(f"{template} cannot be filled in: {error}") from error
