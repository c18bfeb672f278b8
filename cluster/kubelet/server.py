"""The kubelet's own HTTP server: logs, streams and figures of the pods on its node, for the API server.

    API server ══ TLS, bearer token ══ kubelet ─┬─ Runtime.open_stream ─▶ node: bytes are passed on as they are
                                                └─ TCP, made on the node's network ─▶ a pod's port

    GET  /containerLogs/NAMESPACE/POD/CONTAINER?follow=…   text; the paths and parameters are those of
    POST /exec/NAMESPACE/POD/CONTAINER?command=…           pkg/kubelet/server
    POST /attach/NAMESPACE/POD/CONTAINER?stdin=…           Upgrade: petset-frames; then frames (streaming/frames.py)
    POST /portForward/NAMESPACE/POD?port=8080              the same, one connection per forwarded connection
    GET  /stats/summary                                    JSON: what the node and its pods use (usage.py)
    GET  /healthz                                          for everyone

The address is in the Node's status (daemonEndpoints). Errors are Kubernetes Statuses; a container that the node does
not have is a 404, from which the API server makes its text out of the pod's status. Every stream holds one piece of
data and its sockets' buffers.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler

from petset.cluster.api.cri import AttachRequest, ContainerStatus, ExecRequest, LogRequest, SandboxStatus
from petset.cluster.errors import ApiError, BadRequest, InternalError, NotFound, Unauthorized
from petset.cluster.kubelet.log_options import log_request
from petset.cluster.kubelet.runtime import Runtime
from petset.cluster.kubelet.usage_meter import UsageMeter
from petset.cluster.network.network import Network
from petset.cluster.streaming.frames import (
    CLOSE,
    STATUS,
    STDIN,
    STDOUT,
    end_of,
    failed,
    frame,
    read_frames,
    succeeded,
)
from petset.cluster.streaming.takeover import BUFFER_BYTES, Streams, TakenOver, close, relay, taken_over

PORT = 10250
PROTOCOL = "petset-frames"
SWITCHING = f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n\r\n".encode()
DIAL_SECONDS = 10.0
PIECE_BYTES = 64 * 1024

log = logging.getLogger(__name__)


class KubeletServer:
    """The aiohttp application of one kubelet; `token` is what the API server shows."""

    def __init__(self, runtime: Runtime, network: Network, meter: UsageMeter, *, token: str) -> None:
        self._runtime = runtime
        self._meter = meter
        self._network = network
        self._authorization = f"Bearer {token}".encode()

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/healthz", _healthy)
        app.router.add_get("/stats/summary", self._summary)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        app.router.add_post("/exec/{namespace}/{pod}/{container}", self._exec)
        app.router.add_post("/attach/{namespace}/{pod}/{container}", self._attach)
        app.router.add_post("/portForward/{namespace}/{pod}", self._port_forward)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path != "/healthz":
                self._authenticate(request)
            return await handler(request)
        except ApiError as error:
            return web.json_response(error.to_status(), status=error.code)
        except (web.HTTPException, ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            return web.json_response(InternalError("see the kubelet's log").to_status(), status=500)

    def _authenticate(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, self._authorization):
            raise Unauthorized("Unauthorized")

    async def _summary(self, request: web.Request) -> web.Response:
        return web.json_response(await self._meter.summary())

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        sandbox = await self._sandbox(request)
        attempts = _attempts(sandbox, request.match_info["container"])
        wanted = log_request(sandbox.uid, attempts, request.query)
        async with self._stream(wanted) as (reader, _):
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            await response.prepare(request)
            async for channel, data in read_frames(reader):
                if channel == STATUS:
                    break
                await response.write(data)
            await response.write_eof()
        return response

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        container = await self._running(request)
        command = tuple(request.query.getall("command", []))
        wanted = ExecRequest(container.id, command, stdin=_asked(request, "stdin"), tty=_asked(request, "tty"))
        return await self._pass_on(request, wanted)

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        container = await self._running(request)
        return await self._pass_on(request, AttachRequest(container.id, stdin=_asked(request, "stdin")))

    async def _port_forward(self, request: web.Request) -> web.StreamResponse:
        sandbox = await self._sandbox(request)
        port = request.query.get("port", "")
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise BadRequest(f"unable to parse {port!r} as a port")
        _must_upgrade(request)
        async with taken_over(request, SWITCHING) as client:
            try:
                pod = await self._dial(sandbox.ip, int(port))
            except OSError as error:
                client[1].write(failed(_refusal(sandbox, int(port), error)))
                return TakenOver()
            try:
                await _forward(client, pod)
            finally:
                await close(pod[1])
        return TakenOver()

    async def _pass_on(self, request: web.Request, wanted: ExecRequest | AttachRequest) -> web.StreamResponse:
        _must_upgrade(request)
        async with self._stream(wanted) as node, taken_over(request, SWITCHING) as client:
            await relay(client, node)
        return TakenOver()

    @asynccontextmanager
    async def _stream(self, wanted: ExecRequest | AttachRequest | LogRequest) -> AsyncIterator[Streams]:
        connection = await self._runtime.open_stream(wanted)
        node = await asyncio.open_unix_connection(sock=connection, limit=BUFFER_BYTES)
        try:
            yield node
        finally:
            await close(node[1])

    async def _dial(self, host: str, port: int) -> Streams:
        """Raises OSError."""
        made = self._network.make_socket(host)
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                await asyncio.get_running_loop().sock_connect(made, (host, port))
                return await asyncio.open_connection(sock=made, limit=BUFFER_BYTES)
        except BaseException:
            made.close()
            raise

    async def _sandbox(self, request: web.Request) -> SandboxStatus:
        """The newest sandbox of the pod. Raises NotFound."""
        namespace, name = request.match_info["namespace"], request.match_info["pod"]
        found = [
            each for each in await self._runtime.list_sandboxes() if (each.namespace, each.name) == (namespace, name)
        ]
        if not found:
            raise NotFound(f'pod "{name}" not found on this node')
        return found[-1]

    async def _running(self, request: web.Request) -> ContainerStatus:
        name = request.match_info["container"]
        attempts = _attempts(await self._sandbox(request), name)
        if not attempts or attempts[-1].state != "running":
            raise NotFound(f'container not found ("{name}")')
        return attempts[-1]


@asynccontextmanager
async def serving_kubelet(server: KubeletServer, listener: socket.socket, tls: ssl.SSLContext) -> AsyncIterator[None]:
    """Serve on a listening socket until the block ends."""
    runner = web.AppRunner(server.application(), handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listener, ssl_context=tls).start()
        yield
    finally:
        await runner.cleanup()


def kubelet_listener(network: Network) -> socket.socket:
    """A listening socket on the node's address: port 10250, or any free one when that is taken. Raises OSError."""
    listener = network.make_socket(network.node_address)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((network.node_address, PORT))
        except OSError:
            listener.bind((network.node_address, 0))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


async def _healthy(request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _forward(client: Streams, pod: Streams) -> None:
    """Bytes between a client's frames and a pod's connection, until the pod has said all or the client is gone."""

    async def up() -> None:
        async for channel, data in read_frames(client[0]):
            if channel == STDIN:
                pod[1].write(data)
                await pod[1].drain()
            elif (channel, data) == (CLOSE, end_of(STDIN)[-1:]):
                pod[1].write_eof()
        pod[1].transport.abort()

    async def down() -> None:
        while data := await pod[0].read(PIECE_BYTES):
            client[1].write(frame(STDOUT, data))
            await client[1].drain()
        client[1].write(succeeded())

    upward = asyncio.create_task(up(), name="port-forward up")
    try:
        await down()
    except ConnectionError as error:
        client[1].write(failed(str(error)))
    finally:
        upward.cancel()
        await asyncio.gather(upward, return_exceptions=True)


def _attempts(sandbox: SandboxStatus, container: str) -> list[ContainerStatus]:
    return [each for each in sandbox.containers if each.name == container]


def _must_upgrade(request: web.Request) -> None:
    if request.headers.get("Upgrade", "").lower() != PROTOCOL:
        raise BadRequest("Upgrade request required")


def _asked(request: web.Request, name: str) -> bool:
    return request.query.get(name, "") in ("1", "true")


def _refusal(sandbox: SandboxStatus, port: int, error: OSError) -> str:
    """As dockershim and containerd put it."""
    reason = os.strerror(error.errno).lower() if error.errno else str(error) or type(error).__name__
    where = f"dial tcp4 {sandbox.ip}:{port}: connect: {reason}"
    return (
        f"error forwarding port {port} to pod {sandbox.uid}, uid : failed to execute portforward in network "
        f"namespace: failed to connect to localhost:{port} inside namespace of {sandbox.name}, IPv4: {where}"
    )
