"""Catalogue files: YAML in, programs out, and every mistake as one line that names file, entry and field.

    images:
      - name: kubia-pet                     how messages and `petset image` call the entry
        match: luksa/kubia-pet              one pattern or several (image_references.py)
        python: petset.petapp.kubia_pet:main   a function, called in a fork of the node's warm parent; or else
        command: [redis-server]             a program of the host
        args: [--port, "6379"]              arguments unless the container brings its own
        env: {PET_DATA: "{mount:/var/data}"}
        files: {/etc/app.conf: "listen {address}"}   files of the image, where no volume is mounted over them
        working_dir: /data                  seen from inside the container
        user: postgres                      whom the program takes itself for; its files stay the cluster's user's
        ports: [8080]                       its usual ports
        path: [/usr/lib/postgresql/*/bin]   folders that its PATH begins with
        needs: [initdb]                     further programs of the host that it starts
        package: postgresql                 the Debian package that has them

A file is taken as a whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from petset.cluster.node.images import PLACEHOLDER, Program
from petset.cluster.settings import SettingsError

SHIPPED_CATALOGUE = Path(__file__).with_name("images.yaml")

_NAMES_OF_PLACEHOLDERS = ("address", "bind", "hostname", "resolv_conf", "own_tools", "petapp", "python")
_PYTHON = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def shipped_programs() -> list[Program]:
    """The entries that come with petset."""
    return read_catalogue(SHIPPED_CATALOGUE)


def read_catalogue(file: Path) -> list[Program]:
    """The entries of one file. Raises SettingsError."""
    return parse_catalogue(read_text(file), source=str(file))


def read_text(file: Path) -> str:
    """Raises SettingsError."""
    try:
        return file.read_text()
    except OSError as error:
        raise SettingsError(f"catalogue {file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"catalogue {file}: not text: {error}") from error


def parse_catalogue(text: str, *, source: str) -> list[Program]:
    """The entries of one catalogue file. Raises SettingsError naming `source`, entry and field."""
    return [
        _program(entry, source=source, number=number)
        for number, entry in enumerate(parse_entries(text, source=source), 1)
    ]


def parse_entries(text: str, *, source: str) -> list[Any]:
    """The entries as they are written. Raises SettingsError."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"catalogue {source}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        raise SettingsError(f"catalogue {source}: needs a list called images")
    if unknown := [key for key in document if key != "images"]:
        raise SettingsError(f"catalogue {source}: unknown field {unknown[0]!r}; there is images")
    return list(document["images"])


def _program(entry: Any, *, source: str, number: int) -> Program:
    name = entry.get("name") if isinstance(entry, dict) else None
    where = f"catalogue {source}: images[{number}]" + (f" ({name})" if isinstance(name, str) else "")
    if not isinstance(entry, dict):
        raise SettingsError(f"{where}: an entry is a mapping of fields")
    for key in entry:
        if key not in _FIELDS:
            raise SettingsError(f"{where}: unknown field {key!r}; there are {', '.join(_FIELDS)}")
    values: dict[str, Any] = {}
    for key, value in entry.items():
        try:
            values[key] = _FIELDS[key](value)
        except ValueError as error:
            raise SettingsError(f"{where}: {key}: {error}") from error
    if missing := [key for key in ("name", "match") if key not in values]:
        raise SettingsError(f"{where}: {missing[0]}: is missing")
    program = Program(**values)
    if bool(program.python) == bool(program.command):
        raise SettingsError(f"{where}: needs one of python and command")
    return program


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not text")
    return value


def _patterns(value: Any) -> tuple[str, ...]:
    return (_text(value),) if isinstance(value, str) else _texts(value)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{value!r} is not a list of texts")
    return tuple(_text(each) for each in value)


def _templates(value: Any) -> tuple[str, ...]:
    return tuple(_template(each) for each in _texts(value))


def _template(text: str) -> str:
    for name, argument in PLACEHOLDER.findall(text):
        if name in ("mount", "file") and argument.startswith("/"):
            continue
        if name not in _NAMES_OF_PLACEHOLDERS or argument:
            known = ", ".join([*(f"{{{each}}}" for each in _NAMES_OF_PLACEHOLDERS), "{mount:/…}", "{file:/…}"])
            raise ValueError(f"{text!r}: the placeholders are {known}")
    return text


def _environment(value: Any) -> dict[str, str]:
    return {_text(name): _template(text) for name, text in _mapping(value).items()}


def _files(value: Any) -> dict[str, str]:
    return {_absolute(name): text for name, text in _mapping(value).items()}


def _mapping(value: Any) -> dict[Any, str]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not a mapping of names to texts")
    for name, text in value.items():
        if not isinstance(text, str):
            raise ValueError(f"{name}: {text!r} is not text (quote it)")
    return value


def _python_target(value: Any) -> str:
    if not _PYTHON.fullmatch(_text(value)):
        raise ValueError(f"{value!r} is not module:function")
    return str(value)


def _absolute(value: Any) -> str:
    if not _text(value).startswith("/"):
        raise ValueError(f"{value!r} is not an absolute path")
    return str(value)


def _folders(value: Any) -> tuple[str, ...]:
    return tuple(_absolute(each) for each in _texts(value))


def _ports(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(port) is int and 0 < port < 65536 for port in value):
        raise ValueError(f"{value!r} is not a list of ports")
    return tuple(value)


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "name": _text,
    "match": _patterns,
    "python": _python_target,
    "command": _templates,
    "args": _templates,
    "env": _environment,
    "files": _files,
    "working_dir": _absolute,
    "user": _text,
    "ports": _ports,
    "path": _folders,
    "needs": _texts,
    "package": _text,
}
