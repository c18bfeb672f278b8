"""port-forward: many forwarded connections on one client connection, each a connection of frames to the kubelet.

    kubectl >= 1.31 ── SPDY in WebSocket messages ──┐
    kubectl older   ── SPDY on the raw socket ──────┼─ connection ── frames ── kubelet ── pod:port
    python, kr8s    ── WebSocket, 2 channels a port ┘

A failed connection is told on its error stream and is the only one that ends; so is one that a bug of ours ends, which
is logged. Bounds: MAX_CONNECTIONS at a time; QUEUED_PIECES of input per connection: when a pod does not read, the
client is not read either, for it knows no flow control per stream, as with the real server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from petset.cluster.api.objects import Object, name_of, namespace_of
from petset.cluster.apiserver.kubelets import Kubelets
from petset.cluster.apiserver.pod_requests import must_run
from petset.cluster.apiserver.streams.channels import V4, V5, ProtocolError
from petset.cluster.apiserver.streams.pairing import Pair, Pairing, parse_ports
from petset.cluster.apiserver.streams.spdy import (
    REFUSED_STREAM,
    Event,
    SpdyServer,
    StreamData,
    StreamOpened,
    StreamReset,
)
from petset.cluster.apiserver.wires import (
    SocketWire,
    WebSocketWire,
    Wire,
    close_websocket,
    offered_protocols,
    open_websocket,
    read_message,
    until_either_ends,
    wants,
)
from petset.cluster.errors import ApiError, BadRequest, Forbidden
from petset.cluster.streaming.frames import STATUS, STDIN, STDOUT, FrameError, end_of, frame, read_frames
from petset.cluster.streaming.takeover import TakenOver, taken_over

TUNNEL = "SPDY/3.1+portforward.k8s.io"
PROTOCOL = "portforward.k8s.io"
MAX_CONNECTIONS = 500
QUEUED_PIECES = 16

log = logging.getLogger(__name__)

_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    b"X-Stream-Protocol-Version: portforward.k8s.io\r\n\r\n"
)


class PortForwarding:
    """The subresource of one cluster's pods."""

    def __init__(self, kubelets: Kubelets) -> None:
        self._kubelets = kubelets

    async def handle(self, request: web.Request, pod: Object) -> web.StreamResponse:
        """Serve until the client goes. Raises ApiError before the upgrade."""
        must_run(pod, what="")
        if wants(request, "SPDY/3.1"):
            if PROTOCOL not in request.headers.getall("X-Stream-Protocol-Version", [PROTOCOL]):
                raise Forbidden(f"unable to upgrade: unable to negotiate protocol: server accepts [{PROTOCOL}]")
            async with taken_over(request, _SWITCHING) as client:
                await _Tunnel(self._kubelets, pod, SocketWire(*client)).run()
            return TakenOver()
        if not wants(request, "websocket"):
            raise BadRequest("Upgrade request required")
        offered = offered_protocols(request)
        if TUNNEL in offered:
            connection = await open_websocket(request, TUNNEL)
            reason = await _Tunnel(self._kubelets, pod, WebSocketWire(connection)).run()
            await close_websocket(connection, reason)
            return connection
        return await self._serve_channels(request, pod, offered)

    async def _serve_channels(self, request: web.Request, pod: Object, offered: list[str]) -> web.StreamResponse:
        ports = parse_ports(request.query.getall("ports", []))
        known = [each for each in offered if each in (V4, V5, PROTOCOL)]
        if offered and not known:
            raise Forbidden(f"unable to upgrade: unable to negotiate protocol: client supports {offered}")
        connection = await open_websocket(request, V4 if V4 in known else known[0] if known else "")
        for channel in range(2 * len(ports)):
            await connection.send_bytes(bytes([channel]) + struct.pack("<H", ports[channel // 2]))
        reason = await _Channels(self._kubelets, pod, connection).run(ports)
        await close_websocket(connection, reason)
        return connection


Send = Callable[[bytes], Awaitable[None]]


class Forwarded:
    """One forwarded connection. `send` takes the pod's data to the client."""

    def __init__(self, kubelets: Kubelets, pod: Object, port: int, send: Send) -> None:
        self._kubelets = kubelets
        self._pod = pod
        self._port = port
        self._send = send
        self._input: asyncio.Queue[bytes] = asyncio.Queue(QUEUED_PIECES)
        self._over = False

    async def give(self, data: bytes) -> None:
        """The client's data, empty for its end. Waits while the pod does not read; dropped when it is gone."""
        if not self._over:
            await self._input.put(data)

    async def run(self) -> str:
        """Until the pod has said all; answers what went wrong, "" for nothing. Raises ConnectionError of `send`."""
        path = ("portForward", namespace_of(self._pod), name_of(self._pod))
        try:
            async with self._kubelets.open_stream(self._pod, path, [("port", str(self._port))]) as (reader, writer):
                return await self._pass(reader, writer)
        except ApiError as error:
            return error.message
        except FrameError as error:
            return str(error)
        except ConnectionError:
            raise
        except Exception:
            log.exception("port-forward to %s/%s:%d failed", *path[1:], self._port)
            return "Internal error occurred: see the API server's log"
        finally:
            self._over = True
            while not self._input.empty():  # whoever waits in give() goes on
                self._input.get_nowait()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        upward = asyncio.create_task(self._pass_up(writer), name="port-forward up")
        try:
            async for channel, data in read_frames(reader):
                if channel == STDOUT:
                    await self._send(data)
                elif channel == STATUS:
                    return str(orjson.loads(data).get("message") or "")
            return "lost connection to pod"
        finally:
            upward.cancel()
            await asyncio.wait([upward])
            if not upward.cancelled():
                upward.result()

    async def _pass_up(self, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):  # which ends the reading as well
            while data := await self._input.get():
                writer.write(frame(STDIN, data))
                await writer.drain()
            writer.write(end_of(STDIN))
            await writer.drain()


class _Tunnel:
    """One client's SPDY connection."""

    def __init__(self, kubelets: Kubelets, pod: Object, wire: Wire) -> None:
        self._kubelets = kubelets
        self._pod = pod
        self._wire = wire
        self._spdy = SpdyServer()
        self._pairing = Pairing()
        self._forwarded: dict[int, tuple[Forwarded, asyncio.Task[None]]] = {}
        """By data stream."""

    async def run(self) -> str:
        """Until the client hangs up or breaks the protocol: answers how, "" for the former."""
        try:
            while data := await self._wire.read():
                for event in self._spdy.receive(data):
                    await self._take(event)
                if self._spdy.to_send:
                    answer = bytes(self._spdy.to_send)
                    self._spdy.to_send.clear()
                    await self._wire.write(answer)
        except ProtocolError as error:
            return str(error)
        except ConnectionError:
            return ""
        finally:
            tasks = [task for _, task in self._forwarded.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return ""

    async def _take(self, event: Event) -> None:
        match event:
            case StreamOpened():
                await self._opened(event)
            case StreamData() if found := self._forwarded.get(event.stream):
                if event.data:
                    await found[0].give(event.data)
                if event.ended:
                    await found[0].give(b"")
            case StreamReset():
                self._pairing.forget(event.stream)
                if found := self._forwarded.pop(event.stream, None):
                    found[1].cancel()

    async def _opened(self, event: StreamOpened) -> None:
        await self._wire.write(self._spdy.reply(event.stream))
        try:
            pair = self._pairing.add(event.stream, event.headers)
        except ProtocolError:
            await self._wire.write(self._spdy.reset(event.stream, REFUSED_STREAM))
            return
        if pair is None:
            return
        if len(self._forwarded) >= MAX_CONNECTIONS:
            await self._end(pair, f"more than {MAX_CONNECTIONS} connections at a time")
            return

        async def send(data: bytes) -> None:
            await self._wire.write(self._spdy.data(pair.data, data))

        forwarded = Forwarded(self._kubelets, self._pod, pair.port, send)
        task = asyncio.create_task(self._forward(pair, forwarded), name=f"port-forward {pair.port}")
        self._forwarded[pair.data] = forwarded, task

    async def _forward(self, pair: Pair, forwarded: Forwarded) -> None:
        try:
            await self._end(pair, await forwarded.run())
        except ConnectionError:
            return  # the client is gone, which run() sees as well
        finally:
            self._forwarded.pop(pair.data, None)

    async def _end(self, pair: Pair, problem: str) -> None:
        data, error = self._spdy.data(pair.data, b"", end=True), self._spdy.data(pair.error, problem.encode(), end=True)
        await self._wire.write(error + data if problem else data + error)


class _Channels:
    """One client's WebSocket with two channels per port."""

    def __init__(self, kubelets: Kubelets, pod: Object, connection: web.WebSocketResponse) -> None:
        self._kubelets = kubelets
        self._pod = pod
        self._connection = connection

    async def run(self, ports: list[int]) -> str:
        """Until the client hangs up or every pod's side has ended; answers how it broke the protocol, if it did."""
        forwarded = [Forwarded(self._kubelets, self._pod, port, self._sender(2 * at)) for at, port in enumerate(ports)]
        return await until_either_ends(self._read(forwarded), self._forward_all(forwarded))

    async def _read(self, forwarded: list[Forwarded]) -> None:
        while (message := await read_message(self._connection)) is not None:
            if len(message) < 2:
                continue
            if message[0] % 2 or message[0] // 2 >= len(forwarded):
                raise ProtocolError(f"unexpected message on channel {message[0]}")
            await forwarded[message[0] // 2].give(message[1:])

    async def _forward_all(self, forwarded: list[Forwarded]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for at, each in enumerate(forwarded):
                tasks.create_task(self._forward(2 * at + 1, each), name=f"port-forward channel {2 * at}")

    def _sender(self, channel: int) -> Send:
        async def send(data: bytes) -> None:
            await self._connection.send_bytes(bytes([channel]) + data)

        return send

    async def _forward(self, channel: int, forwarded: Forwarded) -> None:
        with contextlib.suppress(ConnectionError):  # the client is gone, which _read() sees as well
            if problem := await forwarded.run():
                await self._connection.send_bytes(bytes([channel]) + problem.encode())
