"""Connections that the kernel tracks and translates: ending UDP flows whose endpoint is none any more.

A tracked flow keeps its translation for as long as datagrams come, whatever the rules say by then: with a client that
keeps its port (a resolver, a metrics sender) that may be for ever. kube-proxy ends such flows too. TCP connections are
left alone: they end by themselves. Not for a thread with a running event loop.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

from petset.cluster.network.netlink import open_connections


class UdpFlows:
    """The tracked UDP flows of this thread's network namespace; `with` closes it."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._connections = self._open.enter_context(open_connections())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def end(self, address: str, port: int, *, keep: Collection[tuple[str, int]]) -> None:
        """End the flows to this address and port, but for those that are sent on to one of `keep`. Raises OSError."""
        asked = NFCTAttrTuple(proto=socket.IPPROTO_UDP, daddr=address, dport=port)
        try:
            for flow in list(self._connections.dump(tuple_orig=asked)):
                reply = NFCTAttrTuple.from_netlink(socket.AF_INET, flow.get_attr("CTA_TUPLE_REPLY"))
                if (reply.saddr, reply.sport) not in keep:
                    self._end(flow)
        except NetlinkError as error:
            raise OSError(error.code, f"connection tracking: {error}") from error

    def _end(self, flow: Any) -> None:
        try:
            asked = NFCTAttrTuple.from_netlink(socket.AF_INET, flow.get_attr("CTA_TUPLE_ORIG"))
            self._connections.entry("del", tuple_orig=asked)
        except NetlinkError as error:
            if error.code != errno.ENOENT:  # else it has ended by itself
                raise
