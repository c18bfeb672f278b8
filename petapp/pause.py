"""Does nothing until SIGTERM: the program of a jump pod, which exists to run commands in.

As the first process of its container it inherits the orphans of those commands, and buries them.
"""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Wait for SIGTERM or SIGINT. The signals are blocked first, so that none is lost before the wait begins."""
    awaited = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    print("pause: waiting for SIGTERM", flush=True)
    while signal.sigwait(awaited) == signal.SIGCHLD:
        _bury_dead_children()


def _bury_dead_children() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            continue
    except ChildProcessError:
        return


if __name__ == "__main__":
    main()
