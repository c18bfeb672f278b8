from __future__ import annotations

import pytest

from petset.cluster.api.cri import ContainerSpec, RuntimeFailure, SandboxSpec
from petset.cluster.api.objects import Object
from petset.cluster.clock import LoopClock
from petset.cluster.kubelet.handlers import Handlers, Target
from tests.fakes.runtime import Command, FakeProber, FakeRuntime
from tests.unit.kubelet.builders import container

pytestmark = pytest.mark.looptime

TARGET = Target(container(ports=[{"name": "http", "containerPort": 8080}]), "uid-1-main-0", "10.244.1.5")


async def machine() -> FakeRuntime:
    runtime = FakeRuntime(LoopClock())
    await runtime.run_sandbox(SandboxSpec("uid-1", "default", "web-0", "web-0"))
    await runtime.start_container("uid-1", ContainerSpec("main", "main:1"))
    runtime.commands = {
        ("true",): Command(),
        ("false",): Command(exit_code=1),
        ("cat", "/absent"): Command(exit_code=1, output=b"cat: /absent: no such file\n"),
        ("sleep", "9"): Command(seconds=9),
    }
    return runtime


def prober() -> FakeProber:
    made = FakeProber()
    made.statuses = {
        "http://10.244.1.5:8080/moved": 302,
        "http://10.244.1.5:8080/absent": 404,
        "https://10.9.9.9:443/": 200,
    }
    made.services = {
        ("10.244.1.5:90", "db"): (0, "NOT_SERVING"),
        ("10.244.1.5:90", "none"): (12, "unknown"),
        ("10.244.1.5:90", "x"): (5, "no x"),
    }
    made.refused = {"http://10.244.1.5:81/", "10.244.1.5:81"}
    made.seconds = {"http://10.244.1.5:8080/slow": 9.0, "10.244.1.5:82": 9.0}
    return made


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        pytest.param({"exec": {"command": ["true"]}}, "", id="exec succeeds"),
        pytest.param({"exec": {"command": ["false"]}}, "command exited with 1", id="exec fails silently"),
        pytest.param({"exec": {"command": ["cat", "/absent"]}}, "cat: /absent: no such file", id="exec tells why"),
        pytest.param({"exec": {"command": ["sleep", "9"]}}, 'command "sleep 9" timed out', id="exec is slow"),
        pytest.param({"httpGet": {"port": "http"}}, "", id="GET of a named port, default path"),
        pytest.param({"httpGet": {"port": 8080, "path": "moved"}}, "", id="a redirect is a success"),
        pytest.param({"httpGet": {"port": 443, "host": "10.9.9.9", "scheme": "HTTPS"}}, "", id="another host"),
        pytest.param(
            {"httpGet": {"port": 8080, "path": "/absent"}}, "HTTP probe failed with statuscode: 404", id="GET fails"
        ),
        pytest.param(
            {"httpGet": {"port": 81}},
            'Get "http://10.244.1.5:81/": dial tcp 10.244.1.5:81: connect: connection refused',
            id="GET refused",
        ),
        pytest.param(
            {"httpGet": {"port": 8080, "path": "/slow"}},
            'Get "http://10.244.1.5:8080/slow": context deadline exceeded '
            "(Client.Timeout exceeded while awaiting headers)",
            id="GET is slow",
        ),
        pytest.param({"httpGet": {"port": "grpc"}}, "couldn't find port 'grpc' in container main", id="unknown port"),
        pytest.param({"tcpSocket": {"port": "8080"}}, "", id="connect"),
        pytest.param(
            {"tcpSocket": {"port": 81}}, "dial tcp 10.244.1.5:81: connect: connection refused", id="connect refused"
        ),
        pytest.param({"tcpSocket": {"port": 82}}, "dial tcp 10.244.1.5:82: i/o timeout", id="connect is slow"),
        pytest.param({"sleep": {"seconds": 1}}, "", id="sleep"),
        pytest.param({"grpc": {"port": 90}}, "", id="gRPC serves"),
        pytest.param(
            {"grpc": {"port": 90, "service": "db"}},
            'service unhealthy (responded with "NOT_SERVING")',
            id="one gRPC service does not",
        ),
        pytest.param(
            {"grpc": {"port": 90, "service": "none"}},
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown",
            id="gRPC without health",
        ),
        pytest.param(
            {"grpc": {"port": 90, "service": "x"}},
            "error: health rpc probe failed: rpc error: code = 5 desc = no x",
            id="gRPC error",
        ),
        pytest.param({"grpc": {"port": 82}}, "timeout: health rpc did not complete within 2s", id="gRPC is slow"),
        pytest.param(
            {"grpc": {"port": 81}},
            'error: failed to connect service at "10.244.1.5:81": dial tcp 10.244.1.5:81: connect: connection refused',
            id="gRPC refused",
        ),
        pytest.param({"udp": {"port": 1}}, "no handler for udp", id="unknown handler"),
    ],
)
async def test_what_a_handler_says(handler: Object, error: str) -> None:
    handlers = Handlers(await machine(), prober())
    assert await handlers.run(handler, TARGET, timeout_seconds=2.0) == error


async def test_a_node_that_cannot_be_asked_is_not_an_answer() -> None:
    runtime = await machine()
    runtime.failures["run_command"].append(RuntimeFailure("not running"))
    with pytest.raises(RuntimeFailure):
        await Handlers(runtime, prober()).run({"exec": {"command": ["true"]}}, TARGET, timeout_seconds=2.0)


async def test_headers_of_a_probe_can_be_replaced() -> None:
    asked = prober()
    get = {"port": 80, "httpHeaders": [{"name": "Host", "value": "web"}, {"name": "User-Agent", "value": "me"}]}
    await Handlers(await machine(), asked).run({"httpGet": get}, TARGET, timeout_seconds=2.0)
    assert asked.requests[0][1] == {"User-Agent": "me", "Accept": "*/*", "Connection": "close", "Host": "web"}
