"""A pod's files, and which host path stands for which container path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from petset.cluster.api.cri import ContainerSpec, Mount, RuntimeFailure, SandboxSpec, Volume
from petset.cluster.node.sandbox import PodFolder, container_paths, hosts_file, resolv_conf


def spec(**fields: Any) -> SandboxSpec:
    return SandboxSpec(uid="uid-1", namespace="default", name="pet-0", hostname="pet-0", **fields)


@pytest.fixture
def folder(tmp_path: Path) -> PodFolder:
    return PodFolder(tmp_path / "pod", tmp_path / "volumes")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        pytest.param(
            {"nameserver": "10.96.0.10", "searches": ("default.svc.cluster.local", "cluster.local")},
            "nameserver 10.96.0.10\nsearch default.svc.cluster.local cluster.local\noptions ndots:5\n",
            id="cluster DNS",
        ),
        pytest.param(
            {"nameserver": "127.128.0.10", "nameserver_port": 5353},
            "nameserver 127.128.0.10\noptions ndots:5\nport 5353\n",
            id="DNS at another port",
        ),
        pytest.param({"dns_options": ()}, "", id="nothing known"),
        pytest.param({"nameserver_port": 5353, "dns_options": ()}, "", id="a port of no server"),
    ],
)
def test_resolv_conf(fields: dict[str, Any], text: str) -> None:
    assert resolv_conf(spec(**fields)) == text


def test_hosts_holds_the_pods_own_line_and_the_aliases() -> None:
    full_name = "pet-0.pets.default.svc.cluster.local"
    lines = hosts_file(spec(subdomain_name=full_name, hosts=(("1.2.3.4", "a b"),)), "10.244.1.2").splitlines()
    assert lines[0] == "# Kubernetes-managed hosts file."
    assert "127.0.0.1\tlocalhost" in lines
    assert f"10.244.1.2\t{full_name}\tpet-0" in lines
    assert lines[-2:] == ["# Entries added by HostAliases.", "1.2.3.4\ta b"]


def test_hosts_without_a_subdomain_names_the_pod_alone() -> None:
    assert hosts_file(spec(), "10.244.1.2").splitlines()[-1] == "10.244.1.2\tpet-0"


def test_the_folder_holds_etc_volumes_and_logs(folder: PodFolder, tmp_path: Path) -> None:
    volumes = (
        Volume("scratch", "empty"),
        Volume("config", "files", files={"a.conf": b"a", "deep/b": b"\xff"}, mode=0o400),
        Volume("data", "disk", source="pv-1"),
        Volume("host", "hostPath", source="/srv/pets"),
    )
    folder.create(spec(volumes=volumes), "10.244.1.2")
    assert (folder.root / "etc" / "hostname").read_text() == "pet-0\n"
    assert folder.resolv_conf.read_text() == "options ndots:5\n"
    assert "10.244.1.2\tpet-0" in (folder.root / "etc" / "hosts").read_text()
    assert list((folder.root / "volumes" / "scratch").iterdir()) == []
    config = folder.root / "volumes" / "config"
    assert ((config / "a.conf").read_bytes(), (config / "deep" / "b").read_bytes()) == (b"a", b"\xff")
    assert (config / "a.conf").stat().st_mode & 0o777 == 0o400
    assert (tmp_path / "volumes" / "disks" / "pv-1").is_dir()
    assert (tmp_path / "volumes" / "hostpath" / "srv" / "pets").is_dir()


@pytest.mark.parametrize(
    "volume",
    [
        pytest.param(Volume("v", "disk", source=""), id="disk without a name"),
        pytest.param(Volume("v", "hostPath", source="/a/../../b"), id="hostPath above"),
        pytest.param(Volume("..", "empty"), id="volume name"),
        pytest.param(Volume("a/b", "empty"), id="volume name with a slash"),
        pytest.param(Volume("v", "files", files={"../x": b""}), id="file above"),
        pytest.param(Volume("v", "files", files={"/x": b""}), id="absolute file"),
    ],
)
def test_no_volume_leaves_its_place(folder: PodFolder, tmp_path: Path, volume: Volume) -> None:
    with pytest.raises(RuntimeFailure):
        folder.create(spec(volumes=(volume,)), "10.244.1.2")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("handle", "name"),
    [
        pytest.param("pvc-3f2a", "pvc-3f2a", id="provisioned"),
        pytest.param("a disk", "a disk", id="space"),
        pytest.param("projects/p/zones/z/disks/d", "projects%2Fp%2Fzones%2Fz%2Fdisks%2Fd", id="slashes"),
        pytest.param("../../etc", "%2E.%2F..%2Fetc", id="above"),
        pytest.param("..", "%2E.", id="the folder above"),
        pytest.param("a%2Fb", "a%252Fb", id="no two handles meet"),
        pytest.param("a\0b", "a%00b", id="zero"),
    ],
)
def test_every_disk_has_a_folder_of_its_own(folder: PodFolder, tmp_path: Path, handle: str, name: str) -> None:
    folder.create(spec(volumes=(Volume("data", "disk", source=handle),)), "10.244.1.2")
    assert [each.name for each in (tmp_path / "volumes" / "disks").iterdir()] == [name]


def test_long_names_of_disks_are_told_apart(folder: PodFolder, tmp_path: Path) -> None:
    handles = ("x" * 1000 + "1", "x" * 1000 + "2")
    folder.create(spec(volumes=[Volume("data", "disk", source=handle) for handle in handles]), "10.244.1.2")
    assert len([*(tmp_path / "volumes" / "disks").iterdir()]) == 2


def paths_of(folder: PodFolder, *mounts: Mount) -> Any:
    volumes = (Volume("data", "disk", source="pv-1"), Volume("cache", "empty"))
    folder.create(spec(volumes=volumes), "10.244.1.2")
    container = ContainerSpec("main", "pet", attempt=2, mounts=mounts)
    return container_paths(folder, container, {volume.name: volume for volume in volumes})


@pytest.mark.parametrize(
    ("path", "host"),
    [
        pytest.param("/var/data", "volumes/disks/pv-1", id="a mount"),
        pytest.param("/var/data/", "volumes/disks/pv-1", id="a mount with a slash"),
        pytest.param("/var/data/a/b", "volumes/disks/pv-1/a/b", id="below a mount"),
        pytest.param("/var/data/cache/x", "pod/volumes/cache/x", id="the innermost mount"),
        pytest.param("/var/database", "pod/roots/main/2/var/database", id="a longer name"),
        pytest.param("/opt", "pod/roots/main/2/opt", id="no mount"),
        pytest.param("/", "pod/roots/main/2", id="the root"),
        pytest.param("opt", "pod/roots/main/2/opt", id="relative to the root"),
    ],
)
def test_a_containers_path_is_a_mount_or_its_own(folder: PodFolder, tmp_path: Path, path: str, host: str) -> None:
    paths = paths_of(folder, Mount("data", "/var/data"), Mount("cache", "/var/data/cache"))
    assert paths.host_path(path) == tmp_path / host


def test_a_sub_path_is_made_and_mounted(folder: PodFolder, tmp_path: Path) -> None:
    paths = paths_of(folder, Mount("data", "/var/data", sub_path="pets/0"))
    assert paths.host_path("/var/data") == tmp_path / "volumes" / "disks" / "pv-1" / "pets" / "0"
    assert paths.host_path("/var/data").is_dir()


@pytest.mark.parametrize(
    "mount",
    [
        pytest.param(Mount("nobody", "/x"), id="unknown volume"),
        pytest.param(Mount("data", "/x", sub_path="../pv-2"), id="sub path above"),
        pytest.param(Mount("data", "/x", sub_path="/etc"), id="absolute sub path"),
        pytest.param(Mount("data", "/x", sub_path="link/etc"), id="sub path through a link"),
        pytest.param(Mount("data", "/x", sub_path="loop/x"), id="sub path through a loop"),
        pytest.param(Mount("data", "/x", sub_path="x/" * 3000), id="endless sub path"),
    ],
)
def test_a_mount_that_cannot_be_is_refused(folder: PodFolder, tmp_path: Path, mount: Mount) -> None:
    disk = tmp_path / "volumes" / "disks" / "pv-1"
    disk.mkdir(parents=True)
    (disk / "link").symlink_to("/")
    (disk / "loop").symlink_to("loop")
    with pytest.raises((RuntimeFailure, OSError)):
        paths_of(folder, mount)


def test_a_path_may_not_climb(folder: PodFolder) -> None:
    with pytest.raises(RuntimeFailure):
        paths_of(folder).host_path("/a/../../etc")


def test_folders_are_made_on_demand(folder: PodFolder) -> None:
    made = paths_of(folder).host_folder("/opt/pets")
    assert made.is_dir()
    assert folder.root in made.parents


def test_a_forgotten_attempt_leaves_nothing(folder: PodFolder) -> None:
    root = paths_of(folder).root
    log = folder.log("main", 2)
    log.write_text("words")
    folder.forget_attempt("main", 2)
    assert not root.exists()
    assert not log.exists()
    folder.forget_attempt("main", 2)
