"""Run a command as a user without any privilege, from whom the kernel gets no favours:

    python -m tests.unprivileged COMMAND …

Root becomes `nobody`; everybody else stays. If only root can reach the interpreter or the current folder, they are
shown to `nobody` in a private mount namespace.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from petset.cluster.network import syscalls

NOBODY = 65534


def become_nobody() -> None:
    """Give up every privilege for good. Exec something next: until then /proc/self is root's."""
    closed = sorted({place for place in map(Path, (sys.base_prefix, sys.prefix, os.getcwd())) if _closed_above(place)})
    if closed:
        syscalls.unshare(syscalls.NEW_MOUNT)
        syscalls.mount("none", "/", "", syscalls.RECURSIVE | syscalls.SLAVE)
    for place in closed:
        _show_alone(place)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _closed_above(place: Path) -> list[Path]:
    """The folders on the way that others may not pass, the innermost first."""
    return [parent for parent in place.parents if not parent.stat().st_mode & stat.S_IXOTH]


def _show_alone(place: Path) -> None:
    """Put a folder that shows only `place` in front of one that is closed."""
    closed = _closed_above(place)
    if not closed:  # shown already, with another place
        return
    descriptor = os.open(place, os.O_PATH)
    syscalls.mount("view", str(closed[-1]), "tmpfs", 0, "mode=0755")
    place.mkdir(parents=True)
    syscalls.mount(f"/proc/self/fd/{descriptor}", str(place), "", syscalls.BIND | syscalls.RECURSIVE)
    os.close(descriptor)


def main(command: list[str]) -> None:
    if os.geteuid() == 0:
        become_nobody()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
