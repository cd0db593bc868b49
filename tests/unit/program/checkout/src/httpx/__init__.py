"""In place of the package: whoever evaluates replaces its get, and this one must never run."""


def get(url: str) -> None:
    raise SystemExit(f"a real request for {url}")
