"""The machine's processes for real: how they live, what they leave, and that nothing outlives what it belongs to.

Nothing here polls: guests keep a connection to the test open (machine_guests.py), and its end is their death.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from petset.cluster.api.cri import ContainerSpec, ImageNotFound, Mount, RuntimeFailure, SandboxSpec, Volume
from petset.cluster.clock import SystemClock
from petset.cluster.network.addresses import loopback_plan
from petset.cluster.network.loopback import LoopbackNetwork
from petset.cluster.node.images import Catalogue, Program
from petset.cluster.node.machine import Machine
from petset.cluster.node.warm_link import WarmLink
from petset.cluster.node.warm_loop import OUTPUT_BYTES
from tests.inside import needs_namespaces
from tests.wire.machine_site import (
    PATIENCE_SECONDS,
    SITES,
    Home,
    Site,
    boot,
    ended,
    is_alive,
    log_of,
    start,
    statuses,
)


@pytest.fixture(params=["loopback", pytest.param("namespaces", marks=needs_namespaces)])
def site(request: pytest.FixtureRequest) -> Site:
    return SITES[request.param]


@pytest.fixture
async def home(site: Site) -> AsyncIterator[Home]:
    async with Home(site.host) as home:
        yield home


@pytest.fixture
async def machine(tmp_path: Path, site: Site) -> AsyncIterator[Machine]:
    async with boot(tmp_path, site) as machine:
        yield machine


@pytest.mark.parametrize(
    ("image", "exit_code", "log"),
    [
        pytest.param("test/quits", 3, "done\n", id="sys.exit with a number"),
        pytest.param("test/complains", 1, "no good\n", id="sys.exit with a text"),
        pytest.param("test/crashes", 1, "ValueError: on purpose\n", id="an exception ends with its traceback"),
        pytest.param("test/awaits", 7, "", id="a coroutine function's answer"),
        pytest.param("test/mute", 120, "", id="output that cannot be written"),
        pytest.param("test/descriptors", 0, "[0, 1, 2]\n", id="nothing of the node stays open"),
        pytest.param("test/shell", 0, "by default\n", id="a program with its image's arguments"),
    ],
)
async def test_a_program_ends_with_its_code_and_its_words(
    machine: Machine, image: str, exit_code: int, log: str
) -> None:
    end = await ended(machine, (await start(machine, image)).id)
    assert (end.exit_code, end.signal) == (exit_code, 0)
    assert (await log_of(machine)).endswith(log)


async def test_a_guest_is_given_arguments_environment_and_folder(machine: Machine, site: Site, tmp_path: Path) -> None:
    status = await start(
        machine,
        "test/shows",
        args=("--size", "2"),
        env={"COLOUR": "green"},
        working_dir="/data/deep",
        volumes=[Volume("disk", "disk", source="pv-1")],
        mounts=(Mount("disk", "/data"),),
    )
    await ended(machine, status.id)
    address = (await machine.list_sandboxes())[0].ip
    folder = "/data/deep" if site.namespaces else tmp_path / "volumes" / "disks" / "pv-1" / "deep"
    told = None if site.namespaces else address
    assert await log_of(machine) == f"['--size', '2'] {folder} {told} green \n"


async def test_a_program_sees_nothing_of_the_nodes_environment(machine: Machine, site: Site) -> None:
    await ended(machine, (await start(machine, "test/shell", command=("env",))).id)
    names = {line.partition("=")[0] for line in (await log_of(machine)).splitlines()}
    told = set() if site.namespaces else {"PET_BIND"}
    assert names == {"PATH", "HOME", "HOSTNAME", "PET_RESOLV_CONF"} | told


async def test_a_pod_on_the_hosts_network_has_the_machines_address(machine: Machine, site: Site) -> None:
    status = await machine.run_sandbox(SandboxSpec("uid-pet-0", "default", "pet-0", "pet-0", host_network=True))
    address = "172.18.0.1" if site.namespaces else "127.125.0.1"
    assert status.ip == address
    await ended(machine, (await start(machine, "test/shell", command=("sh", "-c", "echo $PET_BIND"))).id)
    assert await log_of(machine) == ("\n" if site.namespaces else f"{address}\n")
    await machine.remove_sandbox("uid-pet-0")


async def test_a_manifests_own_command_replaces_the_images(machine: Machine) -> None:
    status = await start(machine, "test/serve", command=("sh", "-c"), args=("echo $HOSTNAME; exit 5",))
    assert (await ended(machine, status.id)).exit_code == 5
    assert await log_of(machine) == "pet-0\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("no-such-program",), r'exec: "no-such-program": executable file not found in \$PATH'),
        (("/etc/passwd",), r'exec: "/etc/passwd": permission denied'),
        (("/no/such/file",), r'exec: "/no/such/file": no such file or directory'),
    ],
    ids=["not on PATH", "not executable", "no such path"],
)
async def test_a_program_that_cannot_start_says_why(machine: Machine, command: tuple[str, ...], message: str) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeFailure, match=message):
            await start(machine, "test/serve", command=command)
    [status] = statuses(await machine.list_sandboxes())
    assert (status.state, status.exit_code) == ("exited", 128)


async def test_an_image_without_its_program_is_not_found(machine: Machine) -> None:
    with pytest.raises(ImageNotFound, match=r"no-such-program.*install it"):
        await machine.pull_image("test/absent")


async def test_sigterm_lets_a_program_end_by_itself(machine: Machine, home: Home) -> None:
    status = await start(machine, "test/polite", env=home.environment)
    await home.calls("polite")
    await machine.signal_container(status.id, signal.SIGTERM)
    end = await ended(machine, status.id)
    assert (end.exit_code, end.signal) == (0, 0)


async def test_who_ignores_sigterm_lives_until_sigkill(machine: Machine, home: Home) -> None:
    status = await start(machine, "test/stubborn", env=home.environment)
    await home.calls("stubborn")
    await machine.signal_container(status.id, signal.SIGTERM)
    assert (await machine.run_command(status.id, ("true",), PATIENCE_SECONDS)).exit_code == 0
    await machine.signal_container(status.id, signal.SIGKILL)
    assert (await ended(machine, status.id)).signal == signal.SIGKILL


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGKILL, 137), (signal.SIGTERM, 0)], ids=["SIGKILL", "its first process ends"]
)
async def test_an_exited_container_has_left_nobody(machine: Machine, home: Home, number: int, exit_code: int) -> None:
    status = await start(machine, "test/family", env=home.environment)
    await home.calls("first", "child", "daemon")
    await machine.signal_container(status.id, number)
    assert (await ended(machine, status.id)).exit_code == exit_code
    assert not [name for name, pid in home.pids.items() if is_alive(pid)]


async def test_a_daemon_lives_as_long_as_its_container(machine: Machine, home: Home) -> None:
    await start(machine, "test/family", env=home.environment)
    await home.calls("first", "child", "daemon")
    await ended(machine, (await start(machine, "test/quits", pod="pet-1")).id)
    assert is_alive(home.pids["daemon"])


async def test_a_removed_pod_has_left_nobody_and_nothing(machine: Machine, home: Home, tmp_path: Path) -> None:
    await start(machine, "test/family", env=home.environment)
    await home.calls("first", "child", "daemon")
    await machine.remove_sandbox("uid-pet-0")
    assert not [name for name, pid in home.pids.items() if is_alive(pid)]
    assert not list((tmp_path / "node-1" / "pods").iterdir())
    assert not list((tmp_path / "node-1" / "trash").iterdir())


async def test_the_warm_parents_death_is_all_containers_death(machine: Machine, home: Home) -> None:
    first = await start(machine, "test/family", env=home.environment)
    second = await start(machine, "test/serve", pod="pet-1", env=home.environment)
    await home.calls("first", "child", "daemon", "pet-1")
    old_pid = machine.warm_parent_pid
    os.kill(old_pid, signal.SIGKILL)
    for status in (first, second):
        end = await ended(machine, status.id)
        assert (end.exit_code, end.signal) == (137, 9)
        assert "container runtime died" in end.message
    assert not [name for name, pid in home.pids.items() if is_alive(pid)]
    again = await start(machine, "test/serve", attempt=1, env=home.environment)
    assert again.state == "running"
    assert machine.warm_parent_pid != old_pid


async def test_the_guards_death_is_every_processes_death(machine: Machine, home: Home) -> None:
    status = await start(machine, "test/family", env=home.environment)
    await home.calls("first", "child", "daemon")
    guard = psutil.Process(machine.warm_parent_pid).parent()
    assert guard is not None
    guard.kill()
    assert (await ended(machine, status.id)).signal == 9
    await home.hang_ups("first", "child", "daemon")


async def test_a_warm_parent_that_dies_before_it_is_ready_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deadly_guest.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeFailure, match="died while it started"):
        await WarmLink.boot(log=tmp_path / "log", modules=["deadly_guest"])


async def test_a_guest_that_cannot_be_loaded_harms_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_guest.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    machine = Machine(
        "node-1",
        folder=tmp_path / "node-1",
        volumes=tmp_path / "volumes",
        network=LoopbackNetwork(loopback_plan(61), 1),
        catalogue=Catalogue([Program("broken", ("test/broken",), python="broken_guest:main")]),
        clock=SystemClock(),
    )
    async with machine:
        assert (await ended(machine, (await start(machine, "test/broken")).id)).exit_code == 1
        assert "no_such_module" in await log_of(machine)


async def test_nothing_survives_a_stopped_machine(tmp_path: Path, site: Site, home: Home) -> None:
    async with boot(tmp_path, site) as machine:
        await start(machine, "test/family", env=home.environment)
        await home.calls("first", "child", "daemon")
        warm_parent = machine.warm_parent_pid
    assert not [pid for pid in (*home.pids.values(), warm_parent) if is_alive(pid)]


@asynccontextmanager
async def lone_machine(tmp_path: Path, site: Site, home: Home) -> AsyncIterator[psutil.Process]:
    """A process with a machine in it, and a family in that; killed at the end."""
    lone = await asyncio.create_subprocess_exec(
        *[sys.executable, "-P", "-m", "tests.wire.lone_machine"],
        *[str(tmp_path), site.name, home.environment["HOME_ADDRESS"]],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        await home.calls("first", "child", "daemon")
        yield psutil.Process(lone.pid)
    finally:
        lone.kill()
        await lone.wait()


async def test_nothing_survives_a_guard_and_a_warm_parent_that_are_killed_at_the_same_moment(
    tmp_path: Path, site: Site, home: Home
) -> None:
    async with lone_machine(tmp_path, site, home) as machine:
        [guard] = machine.children()
        both = [guard, *guard.children()]
        for process in both:
            process.suspend()  # so that neither does anything about the other's death
        for process in both:
            process.kill()
        await home.hang_ups("first", "child", "daemon")


async def test_nothing_survives_a_killed_machine(tmp_path: Path, site: Site, home: Home) -> None:
    async with lone_machine(tmp_path, site, home) as machine:
        children = machine.children(recursive=True)
        assert len(children) >= 4  # guard, warm parent, first process and its child
    await home.hang_ups("first", "child", "daemon")
    gone, alive = await asyncio.to_thread(psutil.wait_procs, children, PATIENCE_SECONDS)
    assert not alive, gone


async def test_a_burst_of_pods(machine: Machine, home: Home) -> None:
    pods = [f"pet-{number}" for number in range(20)]
    async with asyncio.TaskGroup() as group:
        for pod in pods:
            group.create_task(start(machine, "test/serve", pod=pod, env=home.environment))
    await home.calls(*pods)
    assert len({sandbox.ip for sandbox in await machine.list_sandboxes()}) == 20
    async with asyncio.TaskGroup() as group:
        for pod in pods:
            group.create_task(machine.remove_sandbox(f"uid-{pod}"))
    await home.hang_ups(*pods)
    assert await machine.list_sandboxes() == []


async def test_a_start_that_its_caller_gave_up_is_found_again(machine: Machine, home: Home) -> None:
    await machine.run_sandbox(SandboxSpec("uid-pet-0", "default", "pet-0", "pet-0"))
    spec = ContainerSpec("main", "test/serve", env=home.environment)
    impatient = asyncio.create_task(machine.start_container("uid-pet-0", spec))
    await asyncio.sleep(0)
    impatient.cancel()
    await home.calls("pet-0")
    first = psutil.Process((await machine.start_container("uid-pet-0", spec)).pid)
    assert home.pids["pet-0"] in [process.pid for process in (first, *first.children())]


async def test_a_disk_outlives_its_pod_and_moves_between_machines(machine: Machine, site: Site, tmp_path: Path) -> None:
    mounted: dict[str, Any] = {
        "volumes": [Volume("data", "disk", source="pv-7")],
        "mounts": (Mount("data", "/var/data"),),
        "working_dir": "/var/data",
        "command": ("sh", "-c"),
    }
    await ended(machine, (await start(machine, "test/serve", args=("echo kept > file",), **mounted)).id)
    await machine.remove_sandbox("uid-pet-0")
    async with boot(tmp_path, site, 2) as other:
        await ended(other, (await start(other, "test/serve", args=("cat file",), **mounted)).id)
        assert await log_of(other) == "kept\n"


async def test_a_restarted_machine_is_empty(tmp_path: Path, site: Site) -> None:
    for _ in range(2):
        async with boot(tmp_path, site) as machine:
            assert await machine.list_sandboxes() == []
            await start(machine, "test/quits", volumes=[Volume("disk", "disk", source="pv-1")])
    assert (tmp_path / "volumes" / "disks" / "pv-1").is_dir()


async def test_only_the_newest_attempts_are_kept(machine: Machine, tmp_path: Path) -> None:
    for attempt in range(4):
        await ended(machine, (await start(machine, "test/quits", attempt=attempt)).id)
    assert [each.attempt for each in statuses(await machine.list_sandboxes())] == [2, 3]
    logs = tmp_path / "node-1" / "pods" / "uid-pet-0" / "logs" / "main"
    assert sorted(file.name for file in logs.iterdir()) == ["2.log", "3.log"]


async def test_a_successor_of_the_same_name_has_its_own_address(machine: Machine) -> None:
    old = await machine.run_sandbox(SandboxSpec("uid-old", "default", "pet-0", "pet-0"))
    new = await machine.run_sandbox(SandboxSpec("uid-new", "default", "pet-0", "pet-0"))
    assert old.ip != new.ip
    await machine.remove_sandbox("uid-old")
    third = await machine.run_sandbox(SandboxSpec("uid-other", "default", "pet-1", "pet-1"))
    assert third.ip != new.ip


@pytest.mark.parametrize(
    ("command", "exit_code", "output"),
    [
        pytest.param(("no-such-program",), 127, b"executable file not found", id="not on PATH"),
        pytest.param(("sh", "-c", "kill -9 $$"), 137, b"", id="killed"),
        pytest.param(("sh", "-c", "echo $COLOUR; echo err >&2"), 0, b"green\nerr\n", id="the container's environment"),
        pytest.param(
            ("sh", "-c", "sleep 1000 & echo left"), 0, b"left\n", id="what it leaves running is no reason to wait"
        ),
    ],
)
async def test_a_command_runs_in_the_containers_surroundings(
    machine: Machine, command: tuple[str, ...], exit_code: int, output: bytes
) -> None:
    status = await start(machine, "test/serve", env={"COLOUR": "green"})
    result = await machine.run_command(status.id, command, PATIENCE_SECONDS)
    assert result.exit_code == exit_code
    assert output in result.output


async def test_a_commands_output_is_cut(machine: Machine) -> None:
    status = await start(machine, "test/serve")
    result = await machine.run_command(status.id, ("sh", "-c", "yes | head -c 1000000"), PATIENCE_SECONDS)
    assert (result.exit_code, len(result.output)) == (0, OUTPUT_BYTES)


async def test_a_command_that_takes_too_long_is_killed_with_what_it_started(machine: Machine) -> None:
    status = await start(machine, "test/serve")
    result = await machine.run_command(status.id, ("sh", "-c", "sleep 54321 & wait"), 0.3)
    assert result.exit_code == 124
    assert not [
        process.pid for process in psutil.process_iter(["cmdline"]) if "54321" in (process.info["cmdline"] or ())
    ]


async def test_a_command_ends_with_its_container(machine: Machine) -> None:
    status = await start(machine, "test/serve")
    command = asyncio.create_task(machine.run_command(status.id, ("sleep", "1000"), 1000.0))
    assert (await machine.run_command(status.id, ("true",), PATIENCE_SECONDS)).exit_code == 0  # sleep runs by now
    await machine.signal_container(status.id, signal.SIGKILL)
    assert (await command).exit_code == 137
