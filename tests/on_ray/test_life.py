"""How clusters come up and go down, whoever ends them: nothing of them may remain.

What `petset down` does is shown on a cluster of two Ray nodes (test_ray_nodes.py), and `--purge` of one that runs on
one in another Ray (test_joined_ray.py).
"""

from __future__ import annotations

import signal
import stat
import subprocess
from pathlib import Path

import psutil

from tests.on_ray.driver import Driver, RealCluster, assert_all_end, eventually
from tests.on_ray.families import FAMILY, family_of, make_pod


def listeners(processes: list[psutil.Process]) -> set[str]:
    """The addresses that these processes listen on."""
    connections = [connection for process in processes for connection in process.net_connections()]
    return {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}


def wait_until_up(command: subprocess.Popen[str]) -> None:
    output = command.stdout
    assert output is not None
    eventually(lambda: "1 node Ready" in output.readline(), "the cluster is up")


def test_a_detached_cluster_is_up_when_the_command_returns(petset: Driver, shared: RealCluster) -> None:
    nodes = shared.request("/api/v1/nodes")["items"]
    conditions = {
        node["metadata"]["name"]: {each["type"]: each["status"] for each in node["status"]["conditions"]}["Ready"]
        for node in nodes
    }
    assert conditions == {"node-1": "True", "node-2": "True"}
    [row] = [line.split() for line in petset.succeed("ls").splitlines() if line.startswith("shared")]
    assert row[1:4] == ["running", "2/2", str(shared.folder.read_settings().port)]


def test_every_listener_of_a_cluster_is_on_the_loopback(shared: RealCluster) -> None:
    addresses = listeners(shared.processes())
    assert "127.0.0.1" in addresses
    assert {address for address in addresses if not address.removeprefix("::ffff:").startswith("127.")} == set()


def test_the_kubeconfig_is_private(petset: Driver, shared: RealCluster) -> None:
    path = Path(petset.succeed("kubeconfig", "shared").strip())
    assert path == shared.folder.kubeconfig
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_foreground_cluster_lives_beside_another_until_ctrl_c(petset: Driver, shared: RealCluster) -> None:
    with petset.in_foreground("up", "side", "--nodes", "1", "--port", "0") as command:
        wait_until_up(command)
        side = petset.cluster("side")
        processes = side.processes()
        assert side.folder.read_settings().slot != shared.folder.read_settings().slot
        command.send_signal(signal.SIGINT)
        assert command.wait(30) == 0
    assert_all_end(processes)
    assert shared.request("/api/v1/nodes")["items"]


def test_a_foreground_cluster_dies_with_its_command_however_that_dies(petset: Driver) -> None:
    with petset.in_foreground("up", "orphan", "--nodes", "1", "--port", "0") as command:
        wait_until_up(command)
        processes = petset.cluster("orphan").processes()
        command.kill()
    assert_all_end(processes)


def test_ctrl_c_during_the_start_leaves_nothing(petset: Driver) -> None:
    with petset.in_foreground("up", "early", "--nodes", "1", "--port", "0") as command:
        assert command.stdout is not None
        eventually(lambda: command.stdout.readline() == "Ray runs\n", "Ray runs")
        processes = petset.cluster("early").processes()
        command.send_signal(signal.SIGTERM)
        assert command.wait(30) == 130
    assert_all_end(processes)


def test_nothing_outlives_a_killed_supervisor_and_the_cluster_starts_again(petset: Driver) -> None:
    petset.succeed("up", "killed", "--detach", "--nodes", "1", "--port", "0")
    cluster = petset.cluster("killed")
    make_pod(cluster, "family", "node-1", image="busybox", command=["sh", "-c", FAMILY])
    eventually(lambda: family_of(cluster, "family"), "the pod's whole family runs")
    processes, before = cluster.processes(), cluster.folder.read_settings()
    cluster.supervisor.kill()
    assert_all_end(processes)
    assert "not running" in petset.run("down", "killed").stderr

    petset.succeed("up", "killed", "--detach")
    assert cluster.folder.read_settings().port == before.port
    assert not Path(before.run_folder).exists()

    eventually(lambda: family_of(cluster, "family"), "the pod's whole family runs again")
    processes = cluster.processes()
    cluster.kill("raylet")
    assert_all_end(processes)
    assert "Ray's raylet died" in (cluster.folder.log / "supervisor.log").read_text()
    assert not Path(cluster.folder.read_settings().run_folder).exists()
