"""What a probe or a lifecycle hook does: a command in the container, an HTTP GET, a connection, a
question in gRPC, a pause.

A handler answers with an error text, empty when all is well; the texts are those of Kubernetes' probers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from petset.cluster.api.cri import TIMEOUT_EXIT_CODE
from petset.cluster.api.objects import Object
from petset.cluster.kubelet.backoff import go_duration
from petset.cluster.kubelet.probes import USER_AGENT
from petset.cluster.kubelet.runtime import Prober, Runtime

GRPC_UNIMPLEMENTED = 12


@dataclass(frozen=True)
class Target:
    """The container attempt that a handler is about."""

    container: Object
    container_id: str
    pod_ip: str


class Handlers:
    """Carries out handlers on one node."""

    def __init__(self, runtime: Runtime, prober: Prober) -> None:
        self._runtime = runtime
        self._prober = prober

    async def run(self, handler: Object, target: Target, *, timeout_seconds: float) -> str:
        """The error of a probe or hook handler, "" for success.

        Raises ApiError when the node could not be asked: then nothing is known about the container.
        """
        if "exec" in handler:
            return await self._command(handler["exec"], target, timeout_seconds)
        if "httpGet" in handler:
            return await self._http_get(handler["httpGet"], target, timeout_seconds)
        if "tcpSocket" in handler:
            return await self._connect(handler["tcpSocket"], target, timeout_seconds)
        if "grpc" in handler:
            return await self._grpc(handler["grpc"], target, timeout_seconds)
        if "sleep" in handler:
            await asyncio.sleep(min(float(handler["sleep"]["seconds"]), timeout_seconds))
            return ""
        return f"no handler for {', '.join(sorted(handler)) or 'nothing'}"

    async def _command(self, command: Object, target: Target, timeout_seconds: float) -> str:
        words = tuple(command.get("command") or ())
        result = await self._runtime.run_command(target.container_id, words, timeout_seconds)
        if result.exit_code == 0:
            return ""
        output = result.output.decode(errors="replace").strip()
        if result.exit_code == TIMEOUT_EXIT_CODE and not output:
            return f'command "{" ".join(words)}" timed out'
        return output or f"command exited with {result.exit_code}"

    async def _http_get(self, get: Object, target: Target, timeout_seconds: float) -> str:
        host, path = get.get("host") or target.pod_ip, get.get("path") or "/"
        port = _port(get.get("port", 80), target.container)
        if port is None:
            return f"couldn't find port {get.get('port')!r} in container {target.container['name']}"
        path = path if path.startswith("/") else f"/{path}"
        url = f"{(get.get('scheme') or 'HTTP').lower()}://{host}:{port}{path}"
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close"}
        headers |= {each["name"]: each.get("value") or "" for each in get.get("httpHeaders") or ()}
        try:
            status, _ = await self._prober.http_get(url, headers, timeout_seconds)
        except TimeoutError:
            return f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        except OSError as error:
            return f'Get "{url}": dial tcp {host}:{port}: {_reason(error)}'
        return "" if 200 <= status < 400 else f"HTTP probe failed with statuscode: {status}"

    async def _connect(self, tcp: Object, target: Target, timeout_seconds: float) -> str:
        host, port = tcp.get("host") or target.pod_ip, _port(tcp["port"], target.container)
        if port is None:
            return f"couldn't find port {tcp['port']!r} in container {target.container['name']}"
        try:
            await self._prober.tcp_connect(host, port, timeout_seconds)
        except TimeoutError:
            return f"dial tcp {host}:{port}: i/o timeout"
        except OSError as error:
            return f"dial tcp {host}:{port}: {_reason(error)}"
        return ""

    async def _grpc(self, grpc: Object, target: Target, timeout_seconds: float) -> str:
        """In the words of pkg/probe/grpc."""
        host, port, timeout = target.pod_ip, int(grpc["port"]), go_duration(timeout_seconds)
        try:
            code, text = await self._prober.grpc_health(host, port, grpc.get("service") or "", timeout_seconds)
        except TimeoutError:
            return f"timeout: health rpc did not complete within {timeout}"
        except OSError as error:
            return f'error: failed to connect service at "{host}:{port}": dial tcp {host}:{port}: {_reason(error)}'
        if code == GRPC_UNIMPLEMENTED:
            return f"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {text}"
        if code:
            return f"error: health rpc probe failed: rpc error: code = {code} desc = {text}"
        return "" if text == "SERVING" else f'service unhealthy (responded with "{text}")'


def _port(port: int | str, container: Object) -> int | None:
    """A port's number; names are those of the container's ports."""
    if isinstance(port, int):
        return port
    if port.isdecimal():
        return int(port)
    named = (each for each in container.get("ports") or () if each.get("name") == port)
    return next((int(each["containerPort"]) for each in named), None)


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connect: connection refused"
    if isinstance(error, ConnectionResetError):
        return "read: connection reset by peer"
    return f"connect: {(error.strerror or str(error)).lower()}"
