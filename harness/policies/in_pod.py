"""A probe that runs in a pod or in a kernel and needs nothing but Python: which of some places can be reached."""

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor


def why_not(place: "tuple[str, int, float]") -> str:
    """Return why no connection to a place comes about within its seconds; empty where one does."""
    host, port, seconds = place
    try:
        with socket.create_connection((host, port), timeout=seconds):
            return ""
    except OSError as error:
        return str(error)


def reach(places: "dict[str, tuple[str, int, float]]") -> "dict[str, str]":
    """Return why each place cannot be reached, all at the same time; empty where it can."""
    with ThreadPoolExecutor(max(1, len(places))) as pool:
        return dict(zip(places, pool.map(why_not, places.values()), strict=True))


if __name__ == "__main__":
    print(json.dumps(reach(json.loads(sys.argv[1]))))
