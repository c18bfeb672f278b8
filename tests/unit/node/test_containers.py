"""How a container's spec and its image's entry become a launch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from petset.cluster.api.cri import ContainerSpec, Mount, SandboxSpec, Volume
from petset.cluster.network.network import PodNetwork
from petset.cluster.node.containers import Sandbox, container_id, make_launch
from petset.cluster.node.descriptors import Stdio
from petset.cluster.node.images import Program
from petset.cluster.node.launch import Launch
from petset.cluster.node.sandbox import PodFolder, container_paths

PYTHON = Program("pet", ("pet",), python="guest:main", args=("--default",))
COMMAND = Program("store", ("store",), command=("store-server", "--bind", "{address}"), args=("--default",))

NO_STDIO = Stdio((), (), stdin=-1, outputs={})


def launch_of(folder: Path, program: Program, **fields: Any) -> Launch:
    volume = Volume("data", "disk", source="pv-1")
    spec = SandboxSpec("uid", "default", "pet-0", hostname="pet-0-host", volumes=(volume,))
    pod = PodFolder(folder / "pod", folder / "volumes")
    pod.create(spec, "10.244.1.2")
    network = PodNetwork("10.244.1.2", environment={"PET_BIND": "10.244.1.2", "PET_NET": "1"})
    sandbox = Sandbox(spec, pod, network, network_key="default/pet-0", created_at=0.0)
    container = ContainerSpec("main", "pet", mounts=(Mount("data", "/var/data"),), **fields)
    paths = container_paths(pod, container, sandbox.volumes)
    return make_launch("id", spec=container, program=program, sandbox=sandbox, paths=paths, stdio=NO_STDIO)


@pytest.mark.parametrize(
    ("program", "fields", "python", "argv"),
    [
        pytest.param(PYTHON, {}, "guest:main", ("pet", "--default"), id="python alone"),
        pytest.param(PYTHON, {"args": ("-x",)}, "guest:main", ("pet", "-x"), id="python, args"),
        pytest.param(PYTHON, {"command": ("sh",)}, "", ("sh",), id="python, command drops the image's args"),
        pytest.param(PYTHON, {"command": ("sh",), "args": ("-c",)}, "", ("sh", "-c"), id="python, both"),
        pytest.param(COMMAND, {}, "", ("store-server", "--bind", "10.244.1.2", "--default"), id="program alone"),
        pytest.param(
            COMMAND, {"args": ("-x",)}, "", ("store-server", "--bind", "10.244.1.2", "-x"), id="program, args"
        ),
        pytest.param(COMMAND, {"command": ("{address}",)}, "", ("{address}",), id="a manifest's text is not filled in"),
    ],
)
def test_command_and_args_replace_the_images(
    tmp_path: Path, program: Program, fields: dict[str, Any], python: str, argv: tuple[str, ...]
) -> None:
    launch = launch_of(tmp_path, program, **fields)
    assert (launch.python, launch.argv) == (python, argv)


def test_our_own_tools_come_first_where_the_hosts_know_nothing_of_the_clusters_dns(tmp_path: Path) -> None:
    launch = launch_of(tmp_path, Program("tools", ("tools",), python="guest:main", env={"PATH": "{own_tools}/usr/bin"}))
    own, hosts = launch.env["PATH"].split(":")
    assert (Path(own).parts[-2:], hosts) == (("petapp", "bin"), "/usr/bin")
    assert (Path(own) / "dig").exists()


def test_the_environment_is_the_machines_then_the_images_then_the_manifests(tmp_path: Path) -> None:
    program = Program(
        "pet", ("pet",), python="guest:main", env={"PET_DATA": "{mount:/var/data}", "PET_NET": "2", "A": "2"}
    )
    launch = launch_of(tmp_path, program, env={"A": "3"})
    pod = tmp_path / "pod"
    assert launch.env == {
        "HOME": str(pod / "roots" / "main" / "0" / "root"),
        "HOSTNAME": "pet-0-host",
        "PET_RESOLV_CONF": str(pod / "etc" / "resolv.conf"),
        "PET_BIND": "10.244.1.2",
        "PET_NET": "2",
        "PET_DATA": str(tmp_path / "volumes" / "disks" / "pv-1"),
        "A": "3",
    }


@pytest.mark.parametrize(
    ("image_dir", "own_dir", "folder"),
    [
        ("", "", "pod/roots/main/0"),
        ("/srv", "", "pod/roots/main/0/srv"),
        ("/srv", "/var/data/deep", "volumes/disks/pv-1/deep"),
    ],
    ids=["the root", "the image's", "the manifest's"],
)
def test_the_working_folder_is_there(tmp_path: Path, image_dir: str, own_dir: str, folder: str) -> None:
    program = Program("pet", ("pet",), python="guest:main", working_dir=image_dir)
    launch = launch_of(tmp_path, program, working_dir=own_dir)
    assert launch.cwd == str(tmp_path / folder)
    assert Path(launch.cwd).is_dir()


def test_a_launch_crosses_the_channel_unchanged(tmp_path: Path) -> None:
    launch = launch_of(tmp_path, COMMAND)
    assert Launch.from_message(launch.to_message()) == launch


def test_an_id_is_the_attempts_own_and_the_same_each_time() -> None:
    ids = {container_id("uid", name, attempt) for name in ("a", "b") for attempt in (0, 1)}
    assert len(ids) == 4
    assert container_id("uid", "a", 0) in ids
    assert all(len(each) == 64 for each in ids)
