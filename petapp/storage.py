"""One file that is always whole: the old content or the new, never a mixture, whatever dies when.

    store:  .kubia.txt.XXXX  ── write ── fsync ── rename over kubia.txt ── fsync the folder ──►  "Data stored"
                                                      │
    a crash: before this point the old content stays, after it the new one is there

The answer is given after the last fsync, so stored data survives a crash of the process, the node and the machine.
Each store writes a file of its own: two writers on one disk (which a StatefulSet forbids, and a forced deletion
allows) overwrite each other as a whole. What a crash leaves behind is swept at the next start; a writer whose file
is swept gets an error and nothing is stored.

Calls block on the disk; asyncio code makes them in a thread.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from petset.petapp.serving import log

MAX_BYTES = 1024 * 1024


class DataFile:
    """`kubia.txt` in a folder, at most MAX_BYTES long."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "kubia.txt"
        self._prefix = ".kubia.txt."

    def prepare(self) -> None:
        """Make the folder if need be (an image's VOLUME) and remove what a crash left. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for entry in self._folder.iterdir():
            if entry.name.startswith(self._prefix):
                entry.unlink(missing_ok=True)
                log.info("Removed %s, the rest of a store that did not end", entry.name)

    def read(self) -> bytes | None:
        """The stored data; None while nothing was stored. Raises OSError."""
        try:
            with self._path.open("rb") as file:
                return file.read(MAX_BYTES)
        except FileNotFoundError:
            return None

    def store(self, data: bytes) -> None:
        """Replace the data; it is on the disk when this returns. Raises OSError: the old data is still there,
        unless only the last step failed, the folder's fsync: then the new data may or may not outlive a crash."""
        staged = self.stage(data)
        try:
            os.replace(staged, self._path)
        except OSError:
            staged.unlink(missing_ok=True)
            raise
        self._sync_folder()

    def stage(self, data: bytes) -> Path:
        """Write the data durably into a new file beside the old one, and answer its path. Raises OSError."""
        descriptor, name = tempfile.mkstemp(prefix=self._prefix, dir=self._folder)
        staged = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            staged.unlink(missing_ok=True)
            raise
        return staged

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
