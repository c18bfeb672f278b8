"""Folders that pods have written in: looked through, measured and removed however deep, wide or shut they are.

A program can nest folders deeper than Python's stack and than any path may be long, and take its own rights away. So
nothing here calls itself, and nothing is reached by a path that the program made long:

    remove_tree    every folder is moved up beside the first ones before it is emptied:  a/b/c/d  ─▶  a 0 1 2
    walk           a list of folders to go; what no path can name is left out

Links are never followed. A removal makes nothing new: a full disk has no room for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count, islice
from pathlib import Path

MAX_FILES = 100_000
MAX_PATH_BYTES = 4096
_BLOCK_BYTES = 512


def walk(place: Path) -> Iterator[os.DirEntry[str]]:
    """Everything below a folder, a folder before what is in it. What vanishes meanwhile, or is shut, is left out."""
    waiting = [os.fspath(place)]
    while waiting:
        with suppress(OSError):
            for entry in _entries(waiting.pop()):
                if len(os.fsencode(entry.path)) >= MAX_PATH_BYTES:
                    continue
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def measure(place: Path) -> int:
    """Bytes on disk of the first MAX_FILES files below a folder, as `du` counts; 0 for one that is not there."""
    return sum(map(_size, islice(walk(place), MAX_FILES)))


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
    except OSError:  # removed meanwhile
        return 0


def remove_tree(place: Path) -> None:
    """Remove a folder (or file) with everything below; nothing there is no error.

    Raises the first OSError, after all that could be removed is.
    """
    if place.is_symlink() or not place.is_dir():
        place.unlink(missing_ok=True)
        return
    removal = _Removal(place)
    removal.empty()
    if removal.failures:
        raise removal.failures[0]


class _Removal:
    """The removal of one folder."""

    def __init__(self, place: Path) -> None:
        self.failures: list[OSError] = []
        self._place = place

    def empty(self) -> None:
        top = os.fspath(self._place)
        self._do(os.chmod, top, 0o700)
        taken = {entry.name for entry in self._entries_of(top)}
        names = (name for name in map(str, count()) if name not in taken)
        folders = [top]
        for folder in folders:  # grows on the way
            for entry in self._entries_of(folder):
                if not entry.is_dir(follow_symlinks=False):
                    self._do(os.unlink, entry.path)
                    continue
                self._do(os.chmod, entry.path, 0o700)  # a folder that is shut can be neither emptied nor moved
                place = entry.path if folder == top else f"{top}/{next(names)}"
                if place == entry.path or self._do(os.rename, entry.path, place):
                    folders.append(place)
        for folder in reversed(folders):
            self._do(os.rmdir, folder)

    def _entries_of(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            return _entries(folder)
        except OSError as error:
            self.failures.append(error)
            return []

    def _do(self, deed: Callable[..., object], *arguments: object) -> bool:
        """Whether it is done; what is gone already is."""
        try:
            deed(*arguments)
        except FileNotFoundError:
            return False
        except OSError as error:
            self.failures.append(error)
            return False
        return True


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [*entries]
