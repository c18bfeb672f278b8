"""Logs, exec, attach, cp, run and port-forward with every kubectl and the Python clients, on real processes."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pexpect
import psutil
import pytest
import pytest_asyncio

from petset.cluster import pki
from tests.unit.apiserver.streams.test_spdy import Client, control
from tests.wire.real_cluster import RealCluster, real_cluster
from tests.wire.serving import needs_kubectl
from tests.wire.session_kit import (
    KUBECTLS,
    administrator,
    both_protocols,
    ended,
    every_kubectl,
    expect_window,
    forwarded,
    forwarded_port,
    run_guests,
    spawn,
    start,
)
from tests.wire.slots import own_slot

pytestmark = [needs_kubectl, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealCluster]:
    async with real_cluster(tmp_path_factory.mktemp("home"), slot=own_slot(50)) as it:
        await it.run_pod("talk", "busybox", command=["sh", "-c", "echo one; echo two; echo bad >&2; sleep 10000"])
        await it.run_pod("web", "luksa/kubia-pet")
        yield it


class TestLogs:
    @every_kubectl
    async def test_both_streams_are_there(self, cluster: RealCluster, kubectl: str) -> None:
        result = await cluster.kubectl("logs", "talk", program=kubectl)
        assert sorted(result.out.split()) == ["bad", "one", "two"], result.err

    @both_protocols
    async def test_tail_and_timestamps(self, cluster: RealCluster, kubectl: str) -> None:
        result = await cluster.kubectl("logs", "talk", "--tail=2", "--timestamps", program=kubectl)
        lines = result.out.splitlines()
        assert len(lines) == 2
        assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (one|two|bad)", line) for line in lines)

    async def test_since(self, cluster: RealCluster) -> None:
        assert (await cluster.kubectl("logs", "talk", "--since=1h")).out.count("\n") == 3
        later = await cluster.kubectl("logs", "talk", "--since-time=2099-01-01T00:00:00Z")
        assert (later.code, later.out) == (0, "")

    async def test_follow_ends_with_the_container(self, cluster: RealCluster) -> None:
        script = "for i in 1 2 3; do echo line $i; sleep 0.2; done; printf end"
        pod = {"spec": {"restartPolicy": "Never", "containers": [
            {"name": "main", "image": "busybox", "command": ["sh", "-c", script]}]}}  # fmt: skip
        await cluster.client.create(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "counts", "namespace": "default"}, **pod}
        )
        await cluster.kubectl("wait", "pod/counts", "--for=jsonpath={.status.phase}=Running", "--timeout=10s")
        result = await cluster.kubectl("logs", "-f", "counts")
        assert result.out == "line 1\nline 2\nline 3\nend", result.err

    async def test_previous(self, cluster: RealCluster) -> None:
        refused = await cluster.kubectl("logs", "talk", "--previous")
        assert 'previous terminated container "main" in pod "talk" not found' in refused.err
        spec = {"containers": [{"name": "main", "image": "busybox", "command": ["sh", "-c", "date +%N; exit 1"]}]}
        metadata = {"name": "fails", "namespace": "default"}
        await cluster.client.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        until = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1"
        await cluster.kubectl("wait", "pod/fails", until, "--timeout=20s")
        before, now = (await cluster.kubectl("logs", "fails", "-p")).out, (await cluster.kubectl("logs", "fails")).out
        await cluster.kubectl("delete", "pod", "fails", "--now")
        assert before
        assert now
        assert before != now

    async def test_refusals(self, cluster: RealCluster) -> None:
        spec = {"containers": [{"name": "a", "image": "unknown/image"}, {"name": "b", "image": "unknown/image"}]}
        metadata = {"name": "stuck", "namespace": "default"}
        await cluster.client.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        until = "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff"
        await cluster.kubectl("wait", "pod/stuck", until, "--timeout=20s")
        waiting = await cluster.kubectl("logs", "stuck", "-c", "a")
        assert 'container "a" in pod "stuck" is waiting to start: trying and failing to pull image' in waiting.err
        raw = await cluster.kubectl("get", "--raw", "/api/v1/namespaces/default/pods/stuck/log")
        assert "a container name must be specified for pod stuck, choose one of: [a b]" in raw.err
        unknown = await cluster.kubectl("get", "--raw", "/api/v1/namespaces/default/pods/talk/log?container=x")
        assert "container x is not valid for pod talk" in unknown.err

    async def test_a_flood_is_kept_within_bounds(self, cluster: RealCluster) -> None:
        line = "x" * 99
        command = ["sh", "-c", f"yes {line} | head -n 1000000; echo the end"]
        pod = await cluster.run_pod("floods", "busybox", ready=False, command=command)
        assert pod["status"]["phase"] == "Succeeded"
        folder = cluster.settings.folder.node("node-1") / "pods" / pod["metadata"]["uid"] / "logs" / "main"
        files = sorted(folder.iterdir())
        assert len(files) <= 5
        assert sum(file.stat().st_size for file in files) < 55 * 1024 * 1024
        assert (await cluster.kubectl("logs", "floods", "--tail=2")).out == f"{line}\nthe end\n"


class TestExec:
    @every_kubectl
    async def test_output_and_exit_code(self, cluster: RealCluster, kubectl: str) -> None:
        script = "echo out; echo bad >&2; exit 3"
        result = await cluster.kubectl("exec", "talk", "--", "sh", "-c", script, program=kubectl)
        assert (result.code, result.out) == (3, "out\n")
        assert result.err == "bad\ncommand terminated with exit code 3\n"

    @every_kubectl
    async def test_stdin_and_its_end(self, cluster: RealCluster, kubectl: str) -> None:
        text = "".join(f"line {number}\n" for number in range(20_000))
        result = await cluster.kubectl("exec", "-i", "talk", "--", "cat", stdin=text, program=kubectl)
        assert result.out == text, result.err

    @both_protocols
    async def test_what_cannot_run(self, cluster: RealCluster, kubectl: str) -> None:
        result = await cluster.kubectl("exec", "talk", "--", "no-such-program", program=kubectl)
        assert result.code == 1
        assert 'exec: "no-such-program": executable file not found in $PATH' in result.err
        result = await cluster.kubectl("exec", "stuck", "-c", "a", "--", "sh", program=kubectl)
        assert 'unable to upgrade connection: container not found ("a")' in result.err
        result = await cluster.kubectl("exec", "floods", "--", "sh", program=kubectl)
        assert "cannot exec into a container in a completed pod; current phase is Succeeded" in result.err

    async def test_the_environment_and_folder_are_the_containers(self, cluster: RealCluster) -> None:
        result = await cluster.kubectl("exec", "web", "--", "sh", "-c", "echo $HOSTNAME $PET_BIND; pwd")
        host, address, folder = result.out.split()
        assert host == "web"
        assert address == (await cluster.pod("web"))["status"]["podIP"]
        assert folder.startswith(str(cluster.settings.folder.root)) or folder == "/"

    async def test_a_client_that_goes_away_ends_its_command(self, cluster: RealCluster) -> None:
        mark = "31415"
        process = await start(cluster, KUBECTLS[-1], "exec", "talk", "--", "sh", "-c", f"echo up; sleep {mark}")
        assert process.stdout is not None
        assert await process.stdout.readline() == b"up\n"
        process.kill()
        await process.communicate()
        async with asyncio.timeout(10):
            while any(
                mark in each.info["cmdline"] for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"]
            ):
                await asyncio.sleep(0.05)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
class TestTerminal:
    @both_protocols
    async def test_an_interactive_shell(self, cluster: RealCluster, kubectl: str) -> None:
        def talk() -> int:
            shell = spawn(cluster, kubectl, "exec", "-it", "talk", "--", "sh")
            shell.sendline("PS1=ready%; echo $TERM; tty >/dev/null && echo terminal $((6*7))")
            shell.expect("terminal 42")
            shell.expect("ready%")
            shell.setwinsize(33, 99)
            expect_window(shell, 33, 99)
            shell.sendline("sh -c 'echo now asl''eep; exec sleep 1000'")
            shell.expect("now asleep")
            shell.sendintr()
            shell.expect("ready%")
            shell.sendline("exit 5")
            shell.expect(pexpect.EOF)
            shell.close()
            return int(shell.exitstatus)

        assert await asyncio.to_thread(talk) == 5

    @both_protocols
    async def test_run_a_shell_in_a_pod_of_its_own(self, cluster: RealCluster, kubectl: str) -> None:
        def talk() -> str:
            arguments = ["run", "-it", "visitor", "--image=curlimages/curl", "--rm", "--restart=Never", "--", "sh"]
            shell = spawn(cluster, kubectl, *arguments)
            shell.sendline("echo I am $HOSTNAME $((6*7))")
            shell.expect("I am visitor 42")
            shell.sendline("exit")
            shell.expect(pexpect.EOF)
            shell.close()
            return str(shell.before.decode())

        assert 'pod "visitor" deleted' in await asyncio.to_thread(talk)
        assert "visitor" not in (await cluster.kubectl("get", "pods")).out


class TestRun:
    @both_protocols
    async def test_a_lookup_prints_the_records_and_leaves_nothing(self, cluster: RealCluster, kubectl: str) -> None:
        service = {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "kubia", "namespace": "default"},
            "spec": {"clusterIP": "None", "selector": {"app": "kubia"}, "ports": [{"name": "http", "port": 80}]},
        }  # fmt: skip
        if kubectl == KUBECTLS[0]:
            await cluster.client.create(service)
            for name in ("kubia-0", "kubia-1"):
                spec = {"hostname": name, "subdomain": "kubia",
                        "containers": [{"name": "main", "image": "luksa/kubia-pet"}]}  # fmt: skip
                metadata = {"name": name, "namespace": "default", "labels": {"app": "kubia"}}
                await cluster.client.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
                await cluster.pod(name)
        name = "kubia.default.svc.cluster.local"
        options = ["--image=tutum/dnsutils", "--rm", "--restart=Never"]
        result = await cluster.kubectl("run", "-i", "srvlookup", *options, "--", "dig", "SRV", name, program=kubectl)
        assert result.code == 0, result.err
        assert ";; ANSWER SECTION:" in result.out
        for pod in ("kubia-0", "kubia-1"):
            assert re.search(rf"{name}\. \d+ IN\tSRV\t0 50 80 {pod}\.{name}\.", result.out)
            assert re.search(rf"{pod}\.{name}\. \d+ IN\tA\t127\.", result.out)
        assert 'pod "srvlookup" deleted' in result.out
        assert "srvlookup" not in (await cluster.kubectl("get", "pods")).out

    @both_protocols
    async def test_what_is_piped_in_comes_out(self, cluster: RealCluster, kubectl: str) -> None:
        options = ["--image=busybox", "--rm", "--restart=Never"]
        result = await cluster.kubectl("run", "-i", "echoes", *options, "--", "cat", stdin="hello\n", program=kubectl)
        assert result.out.startswith("hello\n"), result

    async def test_an_exit_code_comes_home(self, cluster: RealCluster) -> None:
        options = ["--image=busybox", "--rm", "--restart=Never"]
        result = await cluster.kubectl("run", "-i", "ends", *options, "--", "sh", "-c", "read x; exit 7", stdin="go\n")
        assert result.code == 7, result


class TestCopy:
    @both_protocols
    async def test_a_hundred_megabytes_there_and_back(self, cluster: RealCluster, kubectl: str, tmp_path: Path) -> None:
        source, back = tmp_path / "source", tmp_path / "back"
        source.write_bytes(os.urandom(100_000_000))
        assert (await cluster.kubectl("cp", str(source), "talk:there", program=kubectl)).code == 0
        result = await cluster.kubectl("cp", "talk:there", str(back), program=kubectl)
        assert result.code == 0, result.err
        assert hashlib.sha256(back.read_bytes()).digest() == hashlib.sha256(source.read_bytes()).digest()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guests(cluster: RealCluster) -> None:
    await run_guests(cluster)


class TestPortForward:
    @every_kubectl
    async def test_many_connections_at_a_time(self, cluster: RealCluster, kubectl: str) -> None:
        async with forwarded(cluster, kubectl, "web", 8080) as port:

            async def ask() -> tuple[int, str]:
                url = f"http://127.0.0.1:{port}/"
                async with aiohttp.ClientSession() as session, session.get(url) as answer:
                    return answer.status, await answer.text()

            answers = await asyncio.gather(*(ask() for _ in range(20)))
        assert all(status == 200 and text.startswith("You've hit web") for status, text in answers)

    @both_protocols
    async def test_a_port_that_nobody_listens_at(self, cluster: RealCluster, kubectl: str) -> None:
        process = await start(cluster, kubectl, "port-forward", "web", ":9999", "--address=127.0.0.1")
        port = await forwarded_port(process)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
        out, err = await ended(process)
        assert "connect: connection refused" in out + err
        assert "lost connection to pod" in out + err

    @both_protocols
    async def test_much_data_both_ways(self, cluster: RealCluster, guests: None, kubectl: str) -> None:
        size = 20_000_000
        async with (
            forwarded(cluster, kubectl, "site", 8080) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        ):
            async with session.put("/echo", data=io.BytesIO(bytes(size))) as answer:
                assert (await answer.json())["length"] == size
            async with session.get(f"/big?bytes={size}") as answer:
                assert len(await answer.read()) == size


class TestBadClients:
    """Each is cut off by itself; the server goes on, which the exec at the end of each test shows."""

    @pytest.fixture
    async def shell(self, cluster: RealCluster) -> str:
        return "/api/v1/namespaces/default/pods/talk/exec?stdin=true&stdout=true&stderr=true&command=cat"

    async def _still_serves(self, cluster: RealCluster) -> None:
        assert (await cluster.kubectl("exec", "talk", "--", "echo", "still here")).out == "still here\n"

    async def _connected(
        self, cluster: RealCluster, path: str, protocol: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        settings = cluster.settings
        context = pki.client_context(settings.folder)
        reader, writer = await asyncio.open_connection("127.0.0.1", settings.port, ssl=context)
        lines = [
            f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {pki.token_of(settings.folder, pki.ADMIN)}",
            "Connection: Upgrade", "Upgrade: SPDY/3.1", f"X-Stream-Protocol-Version: {protocol}", "", "",
        ]  # fmt: skip
        writer.write("\r\n".join(lines).encode())
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        return reader, writer

    @pytest.mark.parametrize(
        "noise",
        [
            b"GET / HTTP/1.1\r\n\r\n" * 100,
            b"\x80\x03\x00\x01\x00\xff\xff\xff",
            b"\x80\x03\x00\x01\x00\x00\x00\x0cAAAAAAAAAAAA",
        ],
        ids=["another protocol", "a frame too large", "headers that are none"],
    )
    @pytest.mark.parametrize("subresource", ["exec", "portforward"])
    async def test_noise_ends_the_connection(
        self, cluster: RealCluster, shell: str, subresource: str, noise: bytes
    ) -> None:
        path = shell if subresource == "exec" else "/api/v1/namespaces/default/pods/web/portforward"
        protocol = "v4.channel.k8s.io" if subresource == "exec" else "portforward.k8s.io"
        reader, writer = await self._connected(cluster, path, protocol)
        writer.write(noise)
        if noise.startswith(b"GET"):  # as SPDY that is data of a stream nobody opened, which is never complete
            writer.write_eof() if writer.can_write_eof() else writer.close()
        async with asyncio.timeout(15):
            await reader.read()
        writer.close()
        await self._still_serves(cluster)

    async def test_a_client_that_never_reads_holds_nothing_but_itself(self, cluster: RealCluster, shell: str) -> None:
        before = psutil.Process().memory_info().rss
        path = shell.replace("command=cat", "command=yes")
        async with (
            administrator(cluster) as session,
            session.ws_connect(path, protocols=("v4.channel.k8s.io",)) as connection,
        ):
            await asyncio.sleep(1.0)
            assert psutil.Process().memory_info().rss - before < 64 * 1024 * 1024
            await self._still_serves(cluster)
            connection._response.close()  # hangs up without a word

    async def test_a_spdy_client_that_never_reads_holds_nothing_but_itself(
        self, cluster: RealCluster, shell: str
    ) -> None:
        before = psutil.Process().memory_info().rss
        path, client = shell.replace("command=cat", "command=yes"), Client()
        reader, writer = await self._connected(cluster, path, "v4.channel.k8s.io")
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # what comes stays in the kernel
        for number, name in enumerate(("error", "stdin", "stdout", "stderr")):
            writer.write(client.opens(2 * number + 1, streamtype=name))
        writer.write(control(9, bytes(8)) * 1000 + control(4, bytes(4)))  # windows and settings that mean nothing
        await asyncio.sleep(1.0)
        assert psutil.Process().memory_info().rss - before < 64 * 1024 * 1024
        await self._still_serves(cluster)
        writer.transport.abort()

    async def test_a_message_on_a_wrong_channel_is_answered_with_the_reason(
        self, cluster: RealCluster, shell: str
    ) -> None:
        async with (
            administrator(cluster) as session,
            session.ws_connect(shell, protocols=("v5.channel.k8s.io",)) as connection,
        ):
            await connection.send_bytes(b"\1I am the server")
            message = await connection.receive(timeout=15)
            assert message.type is aiohttp.WSMsgType.CLOSE
            assert (message.data, message.extra) == (1002, "unexpected message on channel 1")


async def test_streams_of_the_official_python_client(cluster: RealCluster) -> None:
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.wire.official_client", str(cluster.settings.folder.kubeconfig),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    out, err = await ended(client)
    assert client.returncode == 0, err
    said = json.loads(out)
    assert said["command"] == "hi\n"
    assert said["shell"] == ["from a shell\n", 7]
    assert "You've hit web" in said["forwarded"]
    assert "kubia-pet on web listens" in said["log"]
