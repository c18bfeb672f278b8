"""exec and attach: a client's WebSocket or SPDY connection on one side, the kubelet's frames on the other.

    kubectl ── WebSocket, v5/v4.channel.k8s.io ──┐
    kubectl ── SPDY/3.1, a stream per channel ───┴── frames ── kubelet (kubelets.py)

The kubelet is asked first: what it refuses is an HTTP error, not a broken session. After that two copies run, up and
down, and whichever side ends ends the other. The Status that the node sends last closes the session in the client's
way: code 1000, or the end of every stream and then the connection's.
"""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web

from petset.cluster.api.objects import Object, name_of, namespace_of
from petset.cluster.apiserver.kubelets import Kubelets, Query
from petset.cluster.apiserver.pod_requests import container_of, must_run
from petset.cluster.apiserver.streams.channels import SUBPROTOCOLS, ProtocolError, negotiate, parse_message
from petset.cluster.apiserver.streams.spdy import SpdyServer, StreamData, StreamOpened
from petset.cluster.apiserver.wires import (
    SocketWire,
    close_websocket,
    offered_protocols,
    open_websocket,
    read_message,
    until_either_ends,
    wants,
)
from petset.cluster.errors import BadRequest, Forbidden, NotFound
from petset.cluster.streaming.frames import (
    RESIZE,
    STATUS,
    STDERR,
    STDIN,
    STDOUT,
    end_of,
    frame,
    read_frames,
)
from petset.cluster.streaming.takeover import Streams, TakenOver, taken_over

STREAMS_SECONDS = 30.0
"""How long a SPDY client may take to open its streams (the real server's stream creation timeout)."""
FAREWELL_SECONDS = 5.0

_CHANNELS = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "error": STATUS, "resize": RESIZE}

log = logging.getLogger(__name__)


class RemoteCommands:
    """Both subresources of one cluster's pods."""

    def __init__(self, kubelets: Kubelets) -> None:
        self._kubelets = kubelets

    async def handle(self, request: web.Request, pod: Object, verb: str) -> web.StreamResponse:
        """Serve `exec` or `attach`. Raises ApiError before the upgrade."""
        must_run(pod, what=verb)
        container = container_of(pod, request.query.get("container", ""))
        query = self._query(request, pod, container=container, verb=verb)
        protocol = _negotiated(request)
        path = (verb, namespace_of(pod), name_of(pod), container)
        outputs = _wanted_outputs(request)
        try:
            async with self._kubelets.open_stream(pod, path, query) as kubelet:
                if wants(request, "websocket"):
                    return await _serve_websocket(request, kubelet, protocol, outputs)
                return await _serve_spdy(request, kubelet, protocol, _expected_streams(request, outputs))
        except NotFound as error:  # in plain text, as the kubelet has it: kubectl puts its own words before it
            return web.Response(status=500, text=error.message)

    def _query(self, request: web.Request, pod: Object, *, container: str, verb: str) -> Query:
        asked = [(name, "true") for name in ("stdin", "tty") if _is_asked(request, name)]
        if verb == "attach":
            return asked
        if _is_asked(request, "tty") and _is_asked(request, "stderr"):
            raise BadRequest("tty and stderr cannot both be true")
        command = request.query.getall("command", [])
        if not command:
            raise BadRequest("you must specify at least 1 command for the container")
        return [*asked, *(("command", word) for word in command)]


def _negotiated(request: web.Request) -> str:
    """The channel protocol. Raises BadRequest without an upgrade, Forbidden when nothing suits."""
    if wants(request, "websocket"):
        offered = offered_protocols(request)
    elif wants(request, "SPDY/3.1"):
        offered = request.headers.getall("X-Stream-Protocol-Version", [])
    else:
        raise BadRequest("Upgrade request required")
    if protocol := negotiate(offered):
        return protocol
    raise Forbidden(f"unable to upgrade: unable to negotiate protocol: client supports {offered}, "
                    f"server accepts {[*SUBPROTOCOLS]}")  # fmt: skip


def _is_asked(request: web.Request, name: str) -> bool:
    return request.query.get(name, "") in ("true", "1")


def _wanted_outputs(request: web.Request) -> set[int]:
    """The output channels that the client listens to; the Status always."""
    return {STATUS} | {_CHANNELS[name] for name in ("stdout", "stderr") if _is_asked(request, name)}


def _expected_streams(request: web.Request, outputs: set[int]) -> set[int]:
    more = {STDIN} if _is_asked(request, "stdin") else set()
    return outputs | more | ({RESIZE} if _is_asked(request, "tty") else set())


async def _serve_websocket(
    request: web.Request, kubelet: Streams, protocol: str, outputs: set[int]
) -> web.StreamResponse:
    connection = await open_websocket(request, protocol)
    reader, writer = kubelet

    async def up() -> None:
        while (message := await read_message(connection)) is not None:
            if parsed := parse_message(message, protocol):
                writer.write(frame(*parsed))
                await writer.drain()

    async def down() -> None:
        async for channel, data in read_frames(reader):
            if channel in outputs:
                await connection.send_bytes(bytes([channel]) + data)
            if channel == STATUS:
                return

    reason = await until_either_ends(up(), down())
    await close_websocket(connection, reason)
    return connection


async def _serve_spdy(request: web.Request, kubelet: Streams, protocol: str, expected: set[int]) -> web.StreamResponse:
    head = (
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        f"X-Stream-Protocol-Version: {protocol}\r\n\r\n"
    )
    async with taken_over(request, head.encode()) as client:
        session = _SpdySession(SocketWire(*client), kubelet, expected)
        await until_either_ends(session.up(), session.down())
    return TakenOver()


class _SpdySession:
    """One exec or attach over SPDY: each channel is a stream that the client opens."""

    def __init__(self, wire: SocketWire, kubelet: Streams, expected: set[int]) -> None:
        self._wire = wire
        self._reader, self._writer = kubelet
        self._expected = expected
        self._spdy = SpdyServer()
        self._streams: dict[int, int] = {}
        """Channel -> stream."""
        self._complete = asyncio.Event()
        self._client_gone = asyncio.Event()

    async def up(self) -> None:
        """Until the client hangs up."""
        try:
            while data := await self._wire.read():
                for event in self._spdy.receive(data):
                    if isinstance(event, StreamOpened):
                        await self._open(event)
                    elif isinstance(event, StreamData):
                        await self._pass_up(event)
                if self._spdy.to_send:
                    answer = bytes(self._spdy.to_send)
                    self._spdy.to_send.clear()
                    await self._wire.write(answer)
        finally:
            self._client_gone.set()

    async def down(self) -> None:
        """Until the Status is sent and the client has hung up, or had time to."""
        async with asyncio.timeout(STREAMS_SECONDS):
            await self._complete.wait()
        async for channel, data in read_frames(self._reader):
            if channel in self._expected:
                await self._wire.write(self._spdy.data(self._streams[channel], data, end=channel == STATUS))
            if channel == STATUS:
                break
        others = [stream for channel, stream in self._streams.items() if channel != STATUS]
        await self._wire.write(b"".join(self._spdy.data(stream, b"", end=True) for stream in others))
        async with asyncio.timeout(FAREWELL_SECONDS):
            await self._client_gone.wait()

    async def _open(self, opened: StreamOpened) -> None:
        channel = _CHANNELS.get(opened.headers.get("streamtype", ""))
        if channel is None or channel not in self._expected or channel in self._streams:
            raise ProtocolError(f"unexpected stream {opened.headers.get('streamtype')!r}")
        self._streams[channel] = opened.stream
        await self._wire.write(self._spdy.reply(opened.stream))
        if set(self._streams) == self._expected:
            self._complete.set()

    async def _pass_up(self, event: StreamData) -> None:
        channel = next((each for each, stream in self._streams.items() if stream == event.stream), None)
        if channel not in (STDIN, RESIZE):
            return
        if event.data:
            self._writer.write(frame(channel, event.data))
        if event.ended and channel == STDIN:
            self._writer.write(end_of(STDIN))
        await self._writer.drain()
