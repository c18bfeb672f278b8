"""The cluster's lock: whoever holds `flock` on `<folder>/lock` is the running cluster.

The kernel drops the lock when its holder ends in any way, so a stale file never looks like a running cluster, and
the process id inside is only believed while the lock is held. The descriptor is not inherited by child processes
(Python's default), so nothing that the holder starts can keep the lock alive.

Looking (`holder`) takes a shared lock for an instant; `acquire` therefore tries for a moment before it gives up.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

_ATTEMPTS = 10
_PAUSE_SECONDS = 0.02


def acquire(path: Path) -> int | None:
    """Take the lock and write this process's id into it. The descriptor that holds it, or None when it is taken.

    The file is looked at again after locking: a `down --purge` may have removed it in between.
    """
    for _ in range(_ATTEMPTS):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if _lock(descriptor, fcntl.LOCK_EX) and _is_still_at(descriptor, path):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
            return descriptor
        os.close(descriptor)
        time.sleep(_PAUSE_SECONDS)
    return None


def holder(path: Path) -> int | None:
    """The process id of the running cluster, or None when nothing holds the lock (or there is no such file)."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        for _ in range(_ATTEMPTS):
            if _lock(descriptor, fcntl.LOCK_SH):
                return None
            if text := os.pread(descriptor, 32, 0):
                return int(text)
            time.sleep(_PAUSE_SECONDS)  # held, but its holder has not written its id yet
        return None
    finally:
        os.close(descriptor)


def _lock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
