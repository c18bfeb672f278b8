"""Images are names for programs: the catalogue that says which.

    reference ─▶ the entries whose patterns match, in order ─▶ the first whose programs are on this machine ─▶ Program
                         │ none                                        │ none
                         └▶ ErrImagePull: write an entry               └▶ ErrImagePull: what to install

What an entry may say is told in catalogue_files.py and docs/images.md. Values of `env`, `command`, `args` and `files`
may hold placeholders, filled in per container:

    {address}      the pod's                    {bind}         what its servers listen on: 0.0.0.0 on a network of its
    {hostname}     the pod's                                   own, else its address
    {resolv_conf}  the path of its own          {mount:/path}  where the program finds this folder of its image
    {python}       runs the guests              {file:/path}   the same of a file
    {petapp}       the folder of the guests     {own_tools}    begins a PATH with our dig, nslookup and curl where the
                                                               host's would not ask the cluster's DNS; else empty
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from glob import glob
from pathlib import Path
from typing import Protocol

from petset.cluster.api.cri import Image, ImageNotFound
from petset.cluster.node.image_references import matches, parse_reference

PLACEHOLDER = re.compile(r"\{([a-z_]+)(?::([^{}]*))?\}")


@dataclass(frozen=True)
class Program:
    """One catalogue entry: `python` (`module:function`) or else `command` (argv of a host program).

    `needs` are further programs that it starts; all are looked for in the folders of `path` (with * as in file names,
    of several the last), then on PATH. `package` has them on Debian. `user` is how it sees itself.
    """

    name: str
    match: tuple[str, ...]
    python: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    user: str = ""
    ports: tuple[int, ...] = ()
    path: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    package: str = ""

    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def search_path(self) -> str:
        """Where its programs are looked for, and what it finds as PATH unless its environment says otherwise."""
        own = [folder for pattern in self.path for folder in sorted(glob(pattern), key=_natural, reverse=True)]
        return os.pathsep.join([*own, os.environ.get("PATH", os.defpath)])

    @property
    def missing(self) -> str:
        """What this machine lacks for it, in words; "" for nothing."""
        programs = [*(word for word in self.command[:1] if not PLACEHOLDER.search(word)), *self.needs]
        path = self.search_path
        for program in programs:
            if not shutil.which(program, path=path):
                return f"the program {program!r}"
        return "" if not self.user or self.user_id else f"the user {self.user!r}"

    @property
    def user_id(self) -> str:
        """The number of `user` on this machine; "" without one, and for one that is not known here."""
        try:
            return str(pwd.getpwnam(self.user).pw_uid) if self.user else ""
        except KeyError:
            return ""

    @property
    def remedy(self) -> str:
        """How to get what is missing."""
        debian = f" (Debian: apt-get install {self.package})" if self.package else ""
        return f"install it{debian}, or say with `petset image add FILE` what the image is to stand for"


class Images(Protocol):
    """What a machine asks about images."""

    @property
    def python_modules(self) -> list[str]:
        """What a warm parent loads in advance, sorted."""

    def find(self, text: str) -> tuple[Image, Program]:
        """The program of an image reference. Raises ImageNotFound with words that name the remedy."""


class Catalogue:
    """Programs by image reference; the first entry that matches and can run here wins."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self.programs = tuple(programs)

    @property
    def python_modules(self) -> list[str]:
        return sorted({program.python.partition(":")[0] for program in self.programs if program.python})

    def find(self, text: str) -> tuple[Image, Program]:
        reference = parse_reference(text)
        fitting = [each for each in self.programs if any(matches(pattern, reference) for pattern in each.match)]
        program = next((each for each in fitting if not each.missing), None)
        if program is not None:
            image_id = f"{reference.registry}/{reference.repository}@{program.digest()}"
            return Image(text, id=image_id, ports=program.ports, user=program.user_id), program
        if fitting:
            first = fitting[0]
            raise ImageNotFound(
                f'image "{text}" (catalogue entry {first.name!r}) needs {first.missing}, which this machine does not '
                f"have: {first.remedy}"
            )
        raise ImageNotFound(
            f'image "{text}" is not in the catalogue: add an entry that says which program it stands for '
            "(`petset image add FILE`; `petset image ls` shows those that are known)"
        )


def fill_placeholders(text: str, values: Mapping[str, str], path: Callable[[str, str], str]) -> str:
    """`text` with its placeholders replaced; `path` gives where a `mount` or a `file` of the image is."""

    def value(found: re.Match[str]) -> str:
        if found[1] in ("mount", "file"):
            return path(found[1], found[2] or "")
        return values.get(found[1], found[0])

    return PLACEHOLDER.sub(value, text)


def _natural(folder: str) -> list[tuple[int, str]]:
    """So that version 15 comes after version 9."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", Path(folder).as_posix())]
