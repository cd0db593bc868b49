"""Linux' Landlock: the kernel's own refusal of writes, programs, connections and signals, for the rest of a process.

An audit hook sees what Python does; what goes past Python is refused here. A kernel without it has the hook alone.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""Numbers of the system calls (include/uapi/asm-generic/unistd.h), the same for every processor."""
ASK_VERSION, PATH_BENEATH, NO_NEW_PRIVILEGES = 1, 1, 38
EXECUTE, WRITE_FILE, READ_FILE, READ_DIRECTORY = 1, 2, 4, 8
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""Rights on files that a version knows, as the number of their bits (Documentation/userspace-api/landlock.rst)."""
CONNECTIONS, SCOPES = (4, 0b11), (6, 0b11)
"""The version that knows them, and TCP's bind and connect; and abstract sockets and signals to others."""


def restrict(writable: Iterable[str]) -> bool:
    """Let this process write below some directories alone, start no program, and reach no other process.

    Returns:
        False where the kernel cannot do that.
    """
    kernel = ctypes.CDLL(None, use_errno=True)
    version = kernel.syscall(CREATE_RULESET, None, 0, ASK_VERSION)
    if version < 1:
        return False
    rights = (1 << FILE_RIGHTS[max(each for each in FILE_RIGHTS if each <= version)]) - 1
    rights &= ~(READ_FILE | READ_DIRECTORY)
    others = [bits for since, bits in (CONNECTIONS, SCOPES) if since <= version]
    attributes = struct.pack(f"={1 + len(others)}Q", rights, *others)
    ruleset = kernel.syscall(CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    try:
        for path, allowed in [*((each, rights & ~EXECUTE) for each in writable), (os.devnull, WRITE_FILE)]:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                if kernel.syscall(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", allowed, place), 0):
                    return False
            finally:
                os.close(place)
        return not kernel.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) and not kernel.syscall(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
