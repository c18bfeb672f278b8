"""Connections that the kernel tracks and translates: ending UDP flows whose endpoint is none any more.

A tracked flow keeps its translation for as long as datagrams come, whatever the rules say by then: with a client that
keeps its port (a resolver, a metrics sender) that may be for ever. kube-proxy ends such flows too. TCP connections are
left alone: they end by themselves. Not for a thread with a running event loop.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Self

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, NFCTSocket

from petset.cluster.network.netlink import open_connections

Place = tuple[str, int]
"""An address and a port."""


class UdpFlows:
    """The tracked UDP flows of a network namespace; made by `open`."""

    def __init__(self, connections: NFCTSocket) -> None:
        self._connections = connections

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Self]:
        """Those of this thread's network namespace."""
        with open_connections() as connections:
            yield cls(connections)

    def end(self, kept: Mapping[Place, Collection[Place]]) -> None:
        """End the flows to each of these places, but for those that are sent on to where its are kept. Raises OSError.

        At least one place. Of one alone the kernel picks the flows, of several this does: one question in any case.
        """
        address, port = next(iter(kept)) if len(kept) == 1 else (None, None)
        asked = NFCTAttrTuple(proto=socket.IPPROTO_UDP, daddr=address, dport=port)
        try:
            for flow in list(self._connections.dump(tuple_orig=asked)):
                sent = NFCTAttrTuple.from_netlink(socket.AF_INET, flow.get_attr("CTA_TUPLE_ORIG"))
                reply = NFCTAttrTuple.from_netlink(socket.AF_INET, flow.get_attr("CTA_TUPLE_REPLY"))
                to = kept.get((sent.daddr, sent.dport))
                if to is not None and (reply.saddr, reply.sport) not in to:
                    self._end(sent)
        except NetlinkError as error:
            raise OSError(error.code, f"connection tracking: {error}") from error

    def _end(self, sent: NFCTAttrTuple) -> None:
        try:
            self._connections.entry("del", tuple_orig=sent)
        except NetlinkError as error:
            if error.code != errno.ENOENT:  # else it has ended by itself
                raise
