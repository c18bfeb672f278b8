"""Where a container finds what its image brings: the folders and files that a catalogue entry speaks of.

                 a root of its own (pod_root.py)            without one
{mount:/data}    /data, made if it is missing               the host's folder of that path: a volume, or its own
{file:/etc/a}    /etc/a                                     the host's file of that path
files            copied there before volumes are mounted    written where no volume is mounted
"""

from __future__ import annotations

import pwd
import sys
from pathlib import Path

import petset
from petset.cluster.api.cri import ContainerSpec
from petset.cluster.node.images import Program, fill_placeholders
from petset.cluster.node.sandbox import ContainerPaths, PodFolder

_PETAPP = Path(petset.__file__).parent / "petapp"
_ROOTS_HOME = "/root"


class ImagePlace:
    """One container's image. `folders` and `files` (path -> source on the host) are what its root must have."""

    def __init__(
        self, program: Program, spec: ContainerSpec, *,
        pod: PodFolder, paths: ContainerPaths, hostname: str, address: str, isolated: bool,
    ) -> None:  # fmt: skip
        self.folders: list[str] = []
        self.files: dict[str, str] = {}
        self.resolv_conf = "/etc/resolv.conf" if isolated else str(pod.resolv_conf)
        self._program = program
        self._kept = pod.image_files(spec.name, spec.attempt)
        self._paths = paths
        self._isolated = isolated
        self._values = {
            "address": address,
            "bind": "0.0.0.0" if isolated else address,
            "hostname": hostname,
            "resolv_conf": self.resolv_conf,
            "own_tools": "" if isolated else f"{_PETAPP}/bin:",
            "petapp": str(_PETAPP),
            "python": sys.executable,
        }

    @property
    def home(self) -> str:
        """The folder of the user that the program takes itself for."""
        return self.folder(pwd.getpwnam(self._program.user).pw_dir if self._program.user else _ROOTS_HOME)

    def folder(self, path: str) -> str:
        """Where the program finds a folder of its image; it is made. Raises OSError, RuntimeFailure."""
        self.folders.append(path)
        return path if self._isolated else str(self._paths.host_folder(path))

    def fill(self, text: str) -> str:
        """`text` with its placeholders replaced."""
        return fill_placeholders(text, self._values, self._path)

    def place_files(self) -> None:
        """Write the image's own files where the container will find them. Raises OSError, RuntimeFailure."""
        for number, (path, text) in enumerate(self._program.files.items()):
            if self._isolated:
                self.folders.append(str(Path(path).parent))
                self._kept.mkdir(parents=True, exist_ok=True)
                place = self._kept / str(number)
                self.files[path] = str(place)
            else:
                place = self._paths.host_path(path)
                if not place.is_relative_to(self._paths.root):
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(self.fill(text))

    def _path(self, kind: str, path: str) -> str:
        if kind == "mount":
            return self.folder(path)
        return path if self._isolated else str(self._paths.host_path(path))
