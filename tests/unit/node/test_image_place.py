"""Where a container finds its image's folders and files, with a root of its own and without one."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from petset.cluster.api.cri import ContainerSpec, Mount, SandboxSpec, Volume
from petset.cluster.node.image_place import ImagePlace
from petset.cluster.node.images import Program
from petset.cluster.node.sandbox import PodFolder, container_paths

DAEMON = pwd.getpwuid(1)
PROGRAM = Program(
    "store",
    ("store",),
    command=("store",),
    files={
        "/etc/store/store.conf": "listen {bind} in {mount:/data} by {file:/etc/store/store.conf}",
        "/data/seed": "x",
    },
    user=DAEMON.pw_name,
)


def place_of(folder: Path, *, isolated: bool) -> ImagePlace:
    pod = PodFolder(folder / "pod", folder / "volumes")
    data = Volume("data", "disk", source="pv-1")
    pod.create(SandboxSpec("uid", "default", "pet-0", hostname="pet-0", volumes=(data,)), "10.244.1.2")
    spec = ContainerSpec("main", "store", mounts=(Mount("data", "/data"),))
    place = ImagePlace(
        PROGRAM,
        spec,
        pod=pod,
        paths=container_paths(pod, spec, {"data": data}),
        hostname="pet-0",
        address="10.244.1.2",
        isolated=isolated,
    )
    place.place_files()
    return place


def test_without_a_root_of_its_own_paths_are_the_hosts(tmp_path: Path) -> None:
    place = place_of(tmp_path, isolated=False)
    root, disk = tmp_path / "pod" / "roots" / "main" / "0", tmp_path / "volumes" / "disks" / "pv-1"
    config = root / "etc" / "store" / "store.conf"
    assert config.read_text() == f"listen 10.244.1.2 in {disk} by {config}"
    assert place.fill("{mount:/var/log}") == str(root / "var" / "log")
    assert (root / "var" / "log").is_dir()
    assert place.home == str(root / DAEMON.pw_dir.lstrip("/"))
    assert place.files == {}


def test_a_volume_hides_what_the_image_has_there(tmp_path: Path) -> None:
    place_of(tmp_path, isolated=False)
    assert list((tmp_path / "volumes" / "disks" / "pv-1").iterdir()) == []


def test_with_a_root_of_its_own_paths_are_the_images(tmp_path: Path) -> None:
    place = place_of(tmp_path, isolated=True)
    [config, seed] = [Path(place.files[path]).read_text() for path in ("/etc/store/store.conf", "/data/seed")]
    assert (config, seed) == ("listen 0.0.0.0 in /data by /etc/store/store.conf", "x")
    assert place.home == DAEMON.pw_dir
    assert {"/data", "/etc/store", DAEMON.pw_dir} <= set(place.folders)


@pytest.mark.parametrize(
    ("isolated", "expected"), [(True, "/etc/resolv.conf"), (False, "pod/etc/resolv.conf")], ids=["own", "hosts"]
)
def test_the_resolver_is_the_pods(tmp_path: Path, isolated: bool, expected: str) -> None:
    assert place_of(tmp_path, isolated=isolated).resolv_conf == str(tmp_path / expected)
