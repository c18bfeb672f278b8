"""A container's log on disk, in the format of the container runtime interface, in a few files that replace each other.

    2026-01-01T00:00:00.000000000Z stdout F a whole line
    2026-01-01T00:00:00.100000000Z stderr P the beginning of a long one
    2026-01-01T00:00:00.100000000Z stderr F , and its end

    <attempt>.log              what is being written
    <attempt>.log.7  .log.6 …  what was full: FILE_BYTES each, the oldest go, KEPT_FILES are left in all

A line is written when it is complete, in one piece of at most MAX_PIECE_BYTES (P) or at the container's end (P, as
containerd does). Each append is one write(2) of whole lines to a file opened for it, so that a log is well formed
whenever the machine dies, and hundreds of quiet containers hold no files open. A disk that is full costs log lines,
never the container: `lost_bytes` counts them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from pathlib import Path

from petset.cluster.clock import Clock

FILE_BYTES = 10 * 1024 * 1024
KEPT_FILES = 5
MAX_PIECE_BYTES = 16 * 1024


class LogFile:
    """The writer of one container's log. Positions are (generation, offset): generation counts the full files."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.generation = 0
        self.ended = False
        self.lost_bytes = 0
        self._path = path
        self._clock = clock
        self._size = 0
        self._pending: defaultdict[str, bytes] = defaultdict(bytes)
        self._changed = asyncio.Event()

    @property
    def oldest_generation(self) -> int:
        return max(0, self.generation - KEPT_FILES + 1)

    def path(self, generation: int) -> Path:
        """The file of a generation."""
        if generation == self.generation:
            return self._path
        return self._path.with_name(f"{self._path.name}.{generation}")

    def write(self, stream: str, data: bytes) -> None:
        """Take what a program wrote to `stdout` or `stderr`."""
        lines, newline, rest = (self._pending[stream] + data).rpartition(b"\n")
        text = b""
        if newline:
            prefix = self._prefix(stream, "F")
            text = prefix + lines.replace(b"\n", b"\n" + prefix) + b"\n"
        if len(rest) > MAX_PIECE_BYTES:
            text, rest = text + self._prefix(stream, "P") + rest + b"\n", b""
        self._pending[stream] = rest
        self._append(text)

    def finish(self) -> None:
        """Nothing more comes."""
        for stream, rest in self._pending.items():
            if rest:
                self._append(self._prefix(stream, "P") + rest + b"\n")
        self._pending.clear()
        self.ended = True
        self._wake()

    async def changed(self) -> None:
        """Wait for the next write, or the end."""
        await self._changed.wait()

    def _append(self, text: bytes) -> None:
        if not text:
            return
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                written = os.write(descriptor, text)
            finally:
                os.close(descriptor)
        except OSError:
            self.lost_bytes += len(text)
            return
        self.lost_bytes += len(text) - written
        self._size += written
        if self._size >= FILE_BYTES:
            self._rotate()
        self._wake()

    def _rotate(self) -> None:
        full = self._path.with_name(f"{self._path.name}.{self.generation}")
        os.rename(self._path, full)
        if self.generation >= KEPT_FILES - 1:
            self.path(self.oldest_generation).unlink(missing_ok=True)
        self.generation += 1
        self._size = 0

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _prefix(self, stream: str, tag: str) -> bytes:
        return f"{log_time(self._clock.now())} {stream} {tag} ".encode()


def log_time(seconds: float) -> str:
    """RFC 3339 with nine digits, so that times compare as texts do."""
    whole, nanoseconds = divmod(int(seconds * 1_000_000_000), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{nanoseconds:09d}Z"
