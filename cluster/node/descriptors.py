"""Pipes and terminals between the machine and its programs, and reading and writing them from the event loop.

    machine ── write ──► stdin │ program │ stdout, stderr ──► read ── machine        pipes
    machine ◄─ one pseudo-terminal's master ─► slave: stdin, stdout and stderr        tty

The program's ends are handed to the warm parent (warm_link.py) and closed here; then the end of a pipe is the end of
everything that held it. Readers give way to the event loop after each piece: a program that never stops talking
cannot hold it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import struct
import termios
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from petset.cluster.streaming.frames import STDERR, STDOUT

PIECE_BYTES = 64 * 1024
_END_OF_TRANSMISSION = b"\x04"


@dataclass
class Stdio:
    """The machine's ends: `stdin` (-1 without), `outputs` by channel; and the program's, `theirs`, until handed over.

    `targets` says, for each of `theirs`, which of the program's descriptors it becomes.
    """

    theirs: tuple[int, ...]
    targets: tuple[tuple[int, ...], ...]
    stdin: int
    outputs: Mapping[int, int]
    tty: bool = False

    def handed_over(self) -> None:
        """Close the program's ends here."""
        for descriptor in self.theirs:
            os.close(descriptor)
        self.theirs = ()

    def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal its size; the kernel tells the program (SIGWINCH)."""
        if self.tty and self.stdin >= 0:
            fcntl.ioctl(self.stdin, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def write(self, data: bytes) -> None:
        """Give the program input; what it does not want any more is dropped."""
        if self.stdin < 0:
            return
        try:
            await write_all(self.stdin, data)
        except OSError:
            self._drop_stdin()

    def end_input(self) -> None:
        """End of file on the program's stdin; on a terminal the key that means it."""
        if self.stdin < 0:
            return
        if self.tty:
            with contextlib.suppress(OSError):
                os.write(self.stdin, _END_OF_TRANSMISSION)
            return
        self._drop_stdin()

    def close(self) -> None:
        """Close everything; nobody may be reading or writing any more."""
        self.handed_over()
        self._drop_stdin()
        for descriptor in self.outputs.values():
            os.close(descriptor)
        self.outputs = {}

    def _drop_stdin(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
        self.stdin = -1


def open_stdio(*, stdin: bool, tty: bool) -> Stdio:
    """Raises OSError when there are no more descriptors, and then keeps none."""
    with contextlib.ExitStack() as undo:
        made = _open_terminal(undo) if tty else _open_pipes(undo, stdin=stdin)
        for descriptor in (made.stdin, *made.outputs.values()):
            if descriptor >= 0:
                os.set_blocking(descriptor, False)
        undo.pop_all()
    return made


def _open_terminal(undo: contextlib.ExitStack) -> Stdio:
    master, slave = _both(os.openpty(), undo)
    return Stdio((slave,), ((0, 1, 2),), stdin=os.dup(master), outputs={STDOUT: master}, tty=True)


def _open_pipes(undo: contextlib.ExitStack, *, stdin: bool) -> Stdio:
    output, their_output = _both(os.pipe(), undo)
    error, their_error = _both(os.pipe(), undo)
    made = Stdio((their_output, their_error), ((1,), (2,)), stdin=-1, outputs={STDOUT: output, STDERR: error})
    if stdin:
        their_input, made.stdin = _both(os.pipe(), undo)
        made.theirs, made.targets = (*made.theirs, their_input), (*made.targets, (0,))
    return made


def _both(pair: tuple[int, int], undo: contextlib.ExitStack) -> tuple[int, int]:
    for descriptor in pair:
        undo.callback(os.close, descriptor)
    return pair


async def read_some(descriptor: int) -> bytes:
    """What there is, PIECE_BYTES at the most; empty at the end."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    while True:
        try:
            return os.read(descriptor, PIECE_BYTES)
        except BlockingIOError:
            await _until_ready(descriptor, loop.add_reader, loop.remove_reader)
        except OSError as error:
            if error.errno == errno.EIO:  # a terminal that nobody has open any more
                return b""
            raise


async def write_all(descriptor: int, data: bytes) -> None:
    """Raises OSError (BrokenPipeError) when nobody reads any more."""
    loop, rest = asyncio.get_running_loop(), memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            await _until_ready(descriptor, loop.add_writer, loop.remove_writer)


async def _until_ready(descriptor: int, add: Callable[..., Any], remove: Callable[[int], Any]) -> None:
    ready = asyncio.Event()
    add(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        remove(descriptor)
