"""Sessions with pods by their owners and labels, attach on its own, and kubectl debug, with real kubectls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import kr8s.asyncio
import pexpect
import pytest
import pytest_asyncio
from kr8s.asyncio.objects import Pod as Kr8sPod

from petset.cluster.api.objects import Object, name_of
from tests.wire.real_cluster import RealCluster, real_cluster
from tests.wire.serving import needs_kubectl
from tests.wire.session_kit import KUBECTLS, both_protocols, ended, every_kubectl, expect_window, spawn, start
from tests.wire.slots import own_slot

pytestmark = [
    needs_kubectl,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]

SCRIPT = 'echo "$HOSTNAME is up"; exec sleep 10000'


def workload(kind: str, name: str) -> Object:
    container = {"name": "main", "image": "busybox", "command": ["sh", "-c", SCRIPT]}
    labels = {"app": name, "tier": "workload"}
    spec: Object = {
        "replicas": 2, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": labels},
                     "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}},
    }  # fmt: skip
    if kind == "StatefulSet":
        spec |= {"serviceName": name, "podManagementPolicy": "Parallel"}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealCluster]:
    async with real_cluster(tmp_path_factory.mktemp("home"), slot=own_slot(52)) as it:
        for kind, name in (("StatefulSet", "db"), ("Deployment", "front")):
            await it.client.create(workload(kind, name))
        await it.run_pod("listens", "busybox", command=["sh", "-c", "while read x; do echo got $x; done"], stdin=True)
        await it.run_pod("shell", "busybox", command=["sh"], stdin=True, tty=True)
        for owner in ("sts/db", "deploy/front"):
            done = await it.kubectl("rollout", "status", owner, "--timeout=30s")
            assert done.code == 0, done.err
        yield it


class TestOwners:
    @both_protocols
    async def test_exec_into_a_pod_of_a_set(self, cluster: RealCluster, kubectl: str) -> None:
        result = await cluster.kubectl("exec", "sts/db", "--", "sh", "-c", "echo $HOSTNAME", program=kubectl)
        assert result.out in ("db-0\n", "db-1\n"), result.err

    @both_protocols
    async def test_exec_into_a_pod_of_a_deployment(self, cluster: RealCluster, kubectl: str) -> None:
        command = ["exec", "deploy/front", "--", "sh", "-c", "echo $HOSTNAME; exit 4"]
        result = await cluster.kubectl(*command, program=kubectl)
        assert result.out.startswith("front-"), result.err
        assert result.code == 4

    async def test_logs_of_a_set_are_followed(self, cluster: RealCluster) -> None:
        process = await start(cluster, KUBECTLS[-1], "logs", "sts/db", "-f")
        assert process.stdout is not None
        first = await process.stdout.readline()
        process.terminate()
        await ended(process)
        assert first in (b"db-0 is up\n", b"db-1 is up\n")

    async def test_logs_by_label(self, cluster: RealCluster) -> None:
        result = await cluster.kubectl("logs", "-l", "app=db", "--prefix")
        assert sorted(result.out.splitlines()) == [
            "[pod/db-0/main] db-0 is up", "[pod/db-1/main] db-1 is up",
        ], result.err  # fmt: skip
        assert (await cluster.kubectl("logs", "-l", "tier=workload")).out.count("is up") == 4


class TestAttach:
    @both_protocols
    async def test_without_a_terminal(self, cluster: RealCluster, kubectl: str) -> None:
        process = await start(cluster, kubectl, "attach", "listens", "-i", stdin=True)
        assert process.stdin is not None
        assert process.stdout is not None
        for word in ("one", "two"):
            process.stdin.write(f"{word}\n".encode())
            assert await process.stdout.readline() == f"got {word}\n".encode()
        process.terminate()
        await ended(process)

    @both_protocols
    async def test_the_end_of_input_leaves_the_container_alone(self, cluster: RealCluster, kubectl: str) -> None:
        process = await start(cluster, kubectl, "attach", "listens", "-i", stdin=True)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"last\n")
        process.stdin.close()
        assert await process.stdout.readline() == b"got last\n"
        process.terminate()
        await ended(process)
        again = await start(cluster, kubectl, "attach", "listens", "-i", stdin=True)
        assert again.stdin is not None
        assert again.stdout is not None
        again.stdin.write(b"more\n")
        assert await again.stdout.readline() == b"got more\n"
        again.terminate()
        await ended(again)

    @both_protocols
    async def test_to_a_terminal_that_follows_its_window(self, cluster: RealCluster, kubectl: str) -> None:
        def talk() -> None:
            terminal = spawn(cluster, kubectl, "attach", "-it", "shell")
            expect_window(terminal, 24, 80)
            terminal.setwinsize(30, 100)
            expect_window(terminal, 30, 100)
            terminal.sendline("echo columns $(tput cols)")
            terminal.expect("columns 100")
            terminal.close()

        await asyncio.to_thread(talk)
        assert (await cluster.pod("shell"))["status"]["containerStatuses"][0]["restartCount"] == 0


class TestDebug:
    @every_kubectl
    async def test_an_ephemeral_container_prints_and_ends(self, cluster: RealCluster, kubectl: str) -> None:
        name = f"look-{kubectl[-2:]}"
        script = "read word; echo $word from $HOSTNAME; exit 3"
        command = ["debug", "listens", "-i", "-c", name, "--image=busybox", "--", "sh", "-c", script]
        result = await cluster.kubectl(*command, stdin="hello\n", program=kubectl)
        assert "hello from listens\n" in result.out, result.err
        status = await self._ended(cluster, "listens", name)
        assert status["state"]["terminated"]["exitCode"] == 3
        assert (await cluster.pod("listens"))["status"]["containerStatuses"][0]["restartCount"] == 0

    @both_protocols
    async def test_an_interactive_shell_beside_the_container(self, cluster: RealCluster, kubectl: str) -> None:
        def talk() -> None:
            command = ["debug", "-it", "db-0", "--image=busybox", "--target=main", "--", "sh"]
            shell = spawn(cluster, kubectl, *command)
            shell.sendline("echo I am beside $HOSTNAME $((6*7))")
            shell.expect("I am beside db-0 42")
            shell.sendline("exit")
            shell.expect(pexpect.EOF)
            shell.close()

        await asyncio.to_thread(talk)

    async def test_a_copy_of_a_pod_with_another_command(self, cluster: RealCluster) -> None:
        command = ["debug", "db-1", "--copy-to=copy", "--container=main", "--", "sh", "-c", "echo I copy; sleep 1000"]
        result = await cluster.kubectl(*command)
        assert result.code == 0, result.err
        await cluster.pod("copy")
        assert (await cluster.kubectl("logs", "copy")).out == "I copy\n"

    async def test_a_node_by_a_pod_on_it(self, cluster: RealCluster) -> None:
        command = ["debug", "node/node-1", "-i", "--image=busybox", "--", "sh", "-c", "read x; echo $x at $HOSTNAME"]
        result = await cluster.kubectl(*command, stdin="look\n")
        assert "look at node-1" in result.out, result.err
        [pod] = [
            each for each in (await cluster.client.list("Pod", "default")).items if "node-debugger" in name_of(each)
        ]
        assert pod["spec"]["hostPID"]
        assert pod["spec"]["hostNetwork"]

    async def test_a_target_that_the_pod_does_not_have(self, cluster: RealCluster) -> None:
        result = await cluster.kubectl("debug", "listens", "--image=busybox", "--target=other", "--", "true")
        assert result.code == 1
        assert "spec.ephemeralContainers" in result.err
        assert 'Not found: "other"' in result.err

    async def _ended(self, cluster: RealCluster, pod: str, container: str) -> Object:
        path = f'{{.status.ephemeralContainerStatuses[?(@.name=="{container}")].state.terminated.exitCode}}'
        await cluster.kubectl("wait", f"pod/{pod}", f"--for=jsonpath={path}=3", "--timeout=20s")
        statuses = (await cluster.pod(pod))["status"]["ephemeralContainerStatuses"]
        found: Object = next(each for each in statuses if each["name"] == container)
        return found


async def test_exec_of_kr8s(cluster: RealCluster) -> None:
    api = await kr8s.asyncio.api(kubeconfig=str(cluster.settings.folder.kubeconfig))
    pod = await Kr8sPod.get("listens", namespace="default", api=api)
    done = await pod.exec(["sh", "-c", "echo hello; echo bad >&2; exit 3"], check=False)
    assert (done.stdout, done.stderr, done.returncode) == (b"hello\n", b"bad\n", 3)
