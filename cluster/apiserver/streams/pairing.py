"""Port-forward without I/O: which streams make one forwarded connection, and the Python clients' channels.

SPDY: each connection is a pair of streams with headers `streamtype: error|data`, `port`, `requestid`. They are paired
by requestid (pkg/kubelet/.../portforward/httpstream.go); MAX_UNPAIRED may wait for their other half.

Python and kr8s: `?ports=80&ports=81`, one connection per port, channel 2i its data and 2i+1 its errors; the server's
first message on each channel is the port, 16 bits little-endian (portforward/websocket.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from petset.cluster.apiserver.streams.channels import ProtocolError
from petset.cluster.errors import BadRequest

MAX_UNPAIRED = 100
MAX_PORTS = 100


@dataclass(frozen=True)
class Pair:
    """One forwarded connection: its port and the numbers of its streams."""

    port: int
    data: int
    error: int


class Pairing:
    """Collects streams until they are pairs."""

    def __init__(self) -> None:
        self._halves: dict[str, dict[str, int]] = {}

    def add(self, stream: int, headers: Mapping[str, str]) -> Pair | None:
        """Take a new stream; the pair, when it is complete. Raises ProtocolError for streams that make no sense."""
        kind, port, request = headers.get("streamtype", ""), headers.get("port", ""), headers.get("requestid", "")
        if kind not in ("data", "error"):
            raise ProtocolError(f"invalid stream type {kind!r}")
        if not port.isdecimal() or not 0 < int(port[:6]) < 65536:
            raise ProtocolError(f"unable to parse {port!r} as a port")
        halves = self._halves.setdefault(request, {})
        if kind in halves:
            raise ProtocolError(f"a second {kind} stream for request {request!r}")
        if len(self._halves) > MAX_UNPAIRED:
            raise ProtocolError(f"more than {MAX_UNPAIRED} streams without their other half")
        halves[kind] = stream
        if len(halves) < 2:
            return None
        del self._halves[request]
        return Pair(int(port), halves["data"], halves["error"])

    def forget(self, stream: int) -> None:
        """The client gave up a stream that may not be paired yet."""
        for request, halves in [*self._halves.items()]:
            if stream in halves.values():
                del self._halves[request]


def parse_ports(texts: Iterable[str]) -> list[int]:
    """The ports of `?ports=80,81&ports=82`. Raises BadRequest."""
    words = [word for text in texts for word in text.split(",")]
    if not words or len(words) > MAX_PORTS:
        raise BadRequest('query parameter "ports" is required' if not words else f"more than {MAX_PORTS} ports")
    if bad := [word for word in words if not word.isdecimal() or not 0 < int(word[:6]) < 65536]:
        raise BadRequest(f'query parameter "ports" cannot be parsed: {bad[0]!r}')
    return [int(word) for word in words]
