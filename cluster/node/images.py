"""Images are names for programs: the catalogue that says which.

A catalogue file is YAML: `images`, a list of entries, of which the first that matches a reference is taken:

    - name: kubia-pet                     how messages call the entry
      match: luksa/kubia-pet              one pattern or several: [registry/]repository[:tag], * as in file names;
                                          without a registry any will do, without a tag any will do
      python: petset.petapp.kubia_pet:main   a function, called in a fork of the node's warm parent; or else
      command: [redis-server]             a program of the host, looked up on PATH when the image is pulled
      args: [--port, "6379"]              arguments unless the container brings its own
      env: {PET_DATA: "{mount:/var/data}"}
      working_dir: /data                  seen from inside the container
      ports: [8080]                       its usual ports

Values of `env`, `command` and `args` may hold placeholders, filled in per container: `{address}` (the pod's),
`{hostname}`, `{resolv_conf}` (the path of the pod's resolv.conf), `{petapp}` (the folder of the shipped guests),
`{python}` (the interpreter that runs them) and `{mount:/path}` (the folder of the host that
stands for this path of the container). References follow the grammar of Docker's distribution project; Docker Hub's
`library/` is left out of repositories, so `nginx` is `docker.io/library/nginx:latest`.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from petset.cluster.api.cri import Image, ImageNotFound
from petset.cluster.settings import SettingsError

SHIPPED_CATALOGUE = Path(__file__).with_name("images.yaml")

_PLACEHOLDER = re.compile(r"\{([a-z_]+)(?::([^{}]*))?\}")
_PLACEHOLDERS_WITHOUT_ARGUMENT = ("address", "hostname", "resolv_conf", "petapp", "python")
_PYTHON = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

_DOMAIN_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?P<registry>{_DOMAIN_LABEL}(?:\.{_DOMAIN_LABEL})*(?::[0-9]+)?)/)?"
    rf"(?P<repository>{_PATH_PART}(?:/{_PATH_PART})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>[A-Za-z][A-Za-z0-9.+_-]*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Reference:
    """An image reference with its defaults filled in."""

    registry: str
    repository: str
    tag: str


@dataclass(frozen=True)
class Program:
    """One catalogue entry: `python` (`module:function`) or else `command` (argv of a host program)."""

    name: str
    match: tuple[str, ...]
    python: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    ports: tuple[int, ...] = ()

    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


class Catalogue:
    """Programs by image reference; the first entry that matches wins."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self._programs = tuple(programs)

    @property
    def python_modules(self) -> list[str]:
        """What a warm parent loads in advance, sorted."""
        return sorted({program.python.partition(":")[0] for program in self._programs if program.python})

    def find(self, text: str) -> tuple[Image, Program]:
        """The program of an image reference. Raises ImageNotFound with words that name the remedy."""
        reference = parse_reference(text)
        for program in self._programs:
            if any(_matches(pattern, reference) for pattern in program.match):
                break
        else:
            known = ", ".join(sorted(pattern for program in self._programs for pattern in program.match))
            raise ImageNotFound(
                f'image "{text}" is not in the catalogue, which knows {known}; '
                "add an entry that says which program it stands for"
            )
        if program.command and not _PLACEHOLDER.search(program.command[0]) and not shutil.which(program.command[0]):
            raise ImageNotFound(
                f'image "{text}" stands for the program {program.command[0]!r}, which is not on this machine\'s PATH; '
                f"install it, or change the catalogue entry {program.name!r}"
            )
        image_id = f"{reference.registry}/{reference.repository}@{program.digest()}"
        return Image(text, id=image_id, ports=program.ports), program


def parse_reference(text: str) -> Reference:
    """Raises ImageNotFound, in the kubelet's words, for what is no image reference."""
    found = _REFERENCE.fullmatch(text)
    if found is None or len(found["repository"]) > 255:
        case = _REFERENCE.fullmatch(text.lower()) is not None and text != text.lower()
        hint = ": repository name must be lowercase" if case else ""
        raise ImageNotFound(
            f'InvalidImageName: couldn\'t parse image reference "{text}": invalid reference format{hint}'
        )
    registry, repository = found["registry"] or "", found["repository"]
    if registry and not _is_registry(registry):
        registry, repository = "", f"{registry}/{repository}"
    return Reference(
        registry=registry or "docker.io",
        repository=repository.removeprefix("library/") if registry in ("", "docker.io") else repository,
        tag=found["tag"] or "latest",
    )


def load_catalogue(*files: Path) -> Catalogue:
    """The shipped catalogue, after the entries of `files`. Raises SettingsError naming file, entry and field."""
    programs: list[Program] = []
    for file in (*files, SHIPPED_CATALOGUE):
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"catalogue {file}: {error}") from error
        programs += parse_catalogue(text, source=str(file))
    return Catalogue(programs)


def parse_catalogue(text: str, *, source: str) -> list[Program]:
    """The entries of one catalogue file. Raises SettingsError naming `source`, entry and field."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"catalogue {source}: not YAML: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        raise SettingsError(f"catalogue {source}: needs a list called images")
    return [_program(entry, source=source, number=number) for number, entry in enumerate(document["images"], 1)]


def fill_placeholders(text: str, values: Mapping[str, str], mount: Callable[[str], str]) -> str:
    """`text` with its placeholders replaced; `mount` gives the host's folder of a container's path."""

    def value(found: re.Match[str]) -> str:
        return mount(found[2]) if found[1] == "mount" else values[found[1]]

    return _PLACEHOLDER.sub(value, text)


def _is_registry(first_part: str) -> bool:
    """Docker's rule for telling `localhost:5000/pet` from `luksa/pet`."""
    return any(sign in first_part for sign in ".:") or first_part == "localhost" or first_part != first_part.lower()


def _matches(pattern: str, reference: Reference) -> bool:
    head, _, tail = pattern.rpartition("/")
    last, _, tag = tail.partition(":")
    wanted = f"{head}/{last}" if head else last
    full = f"{reference.registry}/{reference.repository}"
    named = full if _is_registry(wanted.partition("/")[0]) and "/" in wanted else reference.repository
    return fnmatchcase(named, wanted) and (not tag or fnmatchcase(reference.tag, tag))


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
    for name, argument in _PLACEHOLDER.findall(text):
        if name == "mount" and argument.startswith("/"):
            continue
        if name not in _PLACEHOLDERS_WITHOUT_ARGUMENT or argument:
            known = ", ".join(f"{{{each}}}" for each in (*_PLACEHOLDERS_WITHOUT_ARGUMENT, "mount:/…"))
            raise ValueError(f"{text!r}: the placeholders are {known}")
    return text


def _environment(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not a mapping of names to texts")
    for name, text in value.items():
        if not isinstance(text, str):
            raise ValueError(f"{name}: {text!r} is not text (quote it)")
    return {_text(name): _template(text) for name, text in value.items()}


def _python_target(value: Any) -> str:
    if not _PYTHON.fullmatch(_text(value)):
        raise ValueError(f"{value!r} is not module:function")
    return str(value)


def _folder(value: Any) -> str:
    if not _text(value).startswith("/"):
        raise ValueError(f"{value!r} is not an absolute path")
    return str(value)


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
    "working_dir": _folder,
    "ports": _ports,
}
