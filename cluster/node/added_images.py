"""The images that users added to a cluster: one file in its folder, written by commands, read by every machine.

    petset image add FILE ─▶ checked ─▶ <cluster>/images.yaml, replaced in one step ◀─ machines look for every image

The newest entries come first, and all of them before the shipped ones; an entry replaces the one of its name. Two
commands at a time take turns. A file that somebody damaged by hand is not taken: a machine keeps what it knew, and
says so where an image is not found.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from petset.cluster.api.cri import Image, ImageNotFound
from petset.cluster.node.catalogue_files import (
    parse_catalogue,
    parse_entries,
    read_catalogue,
    read_text,
    shipped_programs,
)
from petset.cluster.node.images import Catalogue, Program
from petset.cluster.settings import SettingsError, write_private

IMPORT_SECONDS = 30.0

_HEADER = "# Written by `petset image`; the fields are explained in docs/images.md.\n"
_IMPORT = """
import importlib, sys
module, _, name = sys.argv[1].partition(":")
try:
    found = getattr(importlib.import_module(module), name, None)
except BaseException as error:
    sys.exit(f"cannot import {module}: {type(error).__name__}: {error}")
sys.exit(None if callable(found) else f"module {module} has no function {name}")
"""


class AddedImages:
    """The file of one cluster."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def programs(self) -> list[Program]:
        """All entries, the newest first. Raises SettingsError."""
        return read_catalogue(self.file) if self.file.exists() else []

    def add(self, sources: Sequence[Path], environment: Mapping[str, str]) -> list[Program]:
        """Take the entries of these files, later files before earlier ones, and answer them.

        Raises SettingsError, and then nothing has changed. `environment` is that of the cluster's own Python.
        """
        added: list[Any] = []
        programs: list[Program] = []
        for source in sources:
            text = read_text(source)
            fresh = parse_catalogue(text, source=str(source))
            for program in fresh:
                _check_python(program, source=source, environment=environment)
            programs += fresh
            added = [*parse_entries(text, source=str(source)), *added]
        with self._alone():
            self._write(_first_of_each_name([*added, *self._entries()]))
        return programs

    def remove(self, name: str) -> bool:
        """Forget the entry of that name; False when there is none. Raises SettingsError."""
        with self._alone():
            entries = self._entries()
            kept = [entry for entry in entries if entry["name"] != name]
            if len(kept) < len(entries):
                self._write(kept)
        return len(kept) < len(entries)

    def _entries(self) -> list[Any]:
        """As they are written, but surely good ones."""
        if not self.file.exists():
            return []
        self.programs()
        return parse_entries(read_text(self.file), source=str(self.file))

    def _write(self, entries: list[Any]) -> None:
        text = _HEADER + yaml.safe_dump({"images": entries}, sort_keys=False, allow_unicode=True)
        write_private(self.file, text.encode())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class LiveCatalogue:
    """The images of a running cluster as they are at the moment; it is an `Images`."""

    def __init__(self, file: Path) -> None:
        self._added = AddedImages(file)
        self._shipped = shipped_programs()
        self._known = Catalogue(self._shipped)
        self._seen: tuple[int, int, int] | None = None
        self._trouble = ""

    @property
    def python_modules(self) -> list[str]:
        return self._current().python_modules

    def find(self, text: str) -> tuple[Image, Program]:
        try:
            return self._current().find(text)
        except ImageNotFound as error:
            if self._trouble:
                raise ImageNotFound(f"{error}; {self._trouble}") from error
            raise

    def _current(self) -> Catalogue:
        seen = _identity(self._added.file)
        if seen != self._seen:
            self._seen = seen
            try:
                self._known, self._trouble = Catalogue([*self._added.programs(), *self._shipped]), ""
            except SettingsError as error:
                self._trouble = str(error)
        return self._known


def _identity(file: Path) -> tuple[int, int, int] | None:
    """Another one after every change; None without a file."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _first_of_each_name(entries: list[Any]) -> list[Any]:
    by_name: dict[str, Any] = {}
    for entry in entries:
        by_name.setdefault(entry["name"], entry)
    return list(by_name.values())


def _check_python(program: Program, *, source: Path, environment: Mapping[str, str]) -> None:
    """Import it as a node would, in a process of its own. Raises SettingsError."""
    if not program.python:
        return
    command = [sys.executable, "-P", "-c", _IMPORT, program.python]
    where = f"catalogue {source}: {program.name}: python: "
    try:
        done = subprocess.run(
            command, env=dict(environment), cwd="/", capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SettingsError(f"{where}importing {program.python} takes longer than {IMPORT_SECONDS:.0f} s") from error
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [f"importing it ended with status {done.returncode}"]
        raise SettingsError(f"{where}{words[-1]}")
