"""A container's log as a client asked for it: from which line, since when, with times, and on until its end.

    files (log_file.py) ─► where to begin (tail) ─► lines ─► since, stream, timestamps, limit ─► text in pieces

The rules are those of pkg/kubelet/kuberuntime/logs: `tail` counts the file's lines and comes before `since`; a line
that was written in pieces is put together again; `follow` ends with the container. Unlike there, the files that were
full are read as well. A reader that is slower than KEPT_FILES of log goes on with the oldest that is left.

Memory: a block of the file and its text.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from petset.cluster.api.cri import LogRequest
from petset.cluster.node.log_file import LogFile, log_time

BLOCK_BYTES = 256 * 1024


async def read_log(log: LogFile, request: LogRequest) -> AsyncIterator[bytes]:
    """The text of a log, in pieces, until its end (as of now, or the container's with `follow`)."""
    form, left = _Form(request), request.limit_bytes
    async for block in _blocks(log, request):
        text = form.text(block)
        if left is not None:
            text = text[:left]
            left -= len(text)
        if text:
            yield text
        if left == 0:
            return


def last_text(log: LogFile, *, lines: int, max_bytes: int) -> bytes:
    """The end of a log: its last lines, of their text the last bytes."""
    form, text = _Form(LogRequest("", "", 0)), b""
    generation, offset = _begin(log, lines)
    while generation <= log.generation:
        if block := _read_lines(log.path(generation), offset):
            offset += len(block)
            text = (text + form.text(block))[-max_bytes:]
        else:
            generation, offset = generation + 1, 0
    return text


async def _blocks(log: LogFile, request: LogRequest) -> AsyncIterator[bytes]:
    """Whole lines of the files, from where the request wants to begin."""
    generation, offset = _begin(log, request.tail_lines)
    while True:
        if block := _read_lines(log.path(generation), offset):
            offset += len(block)
            yield block
        elif generation < log.generation:
            generation, offset = max(generation + 1, log.oldest_generation), 0
        elif request.follow and not log.ended:
            await log.changed()
        else:
            return


def _begin(log: LogFile, tail_lines: int | None) -> tuple[int, int]:
    """The position of the last `tail_lines` lines; the oldest one without."""
    if tail_lines is None:
        return log.oldest_generation, 0
    wanted, generation = tail_lines, log.generation
    while True:
        offset, found = _last_lines(log.path(generation), wanted)
        if found == wanted or generation == log.oldest_generation:
            return generation, offset
        wanted -= found
        generation -= 1


def _last_lines(path: Path, wanted: int) -> tuple[int, int]:
    """(where the last `wanted` lines of a file begin, how many there are, `wanted` at the most)."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            found, begin = -1, end  # the last line's own newline is the beginning of none
            while begin > 0:
                start = max(0, begin - BLOCK_BYTES)
                file.seek(start)
                block = file.read(begin - start)
                at = len(block)
                while (at := block.rfind(b"\n", 0, at)) >= 0:
                    found += 1
                    if found == wanted:
                        return start + at + 1, wanted
                begin = start
            return 0, found + 1
    except FileNotFoundError:  # nothing was written
        return 0, 0


def _read_lines(path: Path, offset: int) -> bytes:
    """Whole lines from an offset, about BLOCK_BYTES at the most."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return b""
    try:
        block = os.pread(descriptor, BLOCK_BYTES, offset)
    finally:
        os.close(descriptor)
    return block[: block.rfind(b"\n") + 1]


class _Form:
    """Turns the lines of a file into what the client reads; remembers which lines are unfinished."""

    def __init__(self, request: LogRequest) -> None:
        self._since = log_time(request.since).encode() if request.since else b""
        self._timestamps = request.timestamps
        self._stream = request.stream.encode()
        self._unfinished: set[bytes] = set()

    def text(self, block: bytes) -> bytes:
        return b"".join(self._pieces(block))

    def _pieces(self, block: bytes) -> Iterator[bytes]:
        for line in block.split(b"\n")[:-1]:
            when, stream, tag, content = line.split(b" ", 3)
            if when < self._since or (self._stream and stream != self._stream):
                continue
            if self._timestamps and stream not in self._unfinished:
                yield when + b" "
            yield content
            if tag == b"F":
                self._unfinished.discard(stream)
                yield b"\n"
            else:
                self._unfinished.add(stream)
