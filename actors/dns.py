"""dns: the cluster's name server, on the cluster IP of the `kube-dns` service."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from petset.actors.shell import Shell
from petset.cluster.control.watch_troubles import TroubledClient, WatchTroubles
from petset.cluster.network.host_ports import borrow_outward_socket
from petset.cluster.settings import ClusterSettings

if TYPE_CHECKING:
    from petset.dns.server import SocketMaker

SWITCH_SECONDS = 0.0005


class DnsShell(Shell):
    async def run(self, ready: asyncio.Event) -> None:
        await run_dns(self.settings, ready, self.watch_troubles)


async def run_dns(settings: ClusterSettings, ready: asyncio.Event, troubles: WatchTroubles | None = None) -> None:
    """Watch the API and answer queries until cancelled; ready once everything that existed is known."""
    from petset.cluster.assemble.client import http_client
    from petset.cluster.network.upstreams import configured_upstreams
    from petset.cluster.pki import DNS
    from petset.dns.agent import DnsAgent
    from petset.dns.batches import configured_loop

    # Answers come from a thread: the other ones of this process must not keep it from its next packet for long.
    sys.setswitchinterval(SWITCH_SECONDS)
    address = settings.addresses.dns_address
    async with http_client(settings, DNS) as client, asyncio.TaskGroup() as tasks:
        agent = DnsAgent(
            TroubledClient(client, troubles) if troubles else client,
            addresses=[address],
            host=address,
            port=settings.dns_port,
            ttl_seconds=settings.dns_ttl_seconds,
            negative_ttl_seconds=settings.dns_negative_ttl_seconds,
            cache_seconds=settings.dns_cache_seconds,
            loop=configured_loop(settings.dns_loop),
            make_upstream_socket=_outward_sockets(settings),
            upstreams=configured_upstreams(settings.dns_upstreams, Path("/etc/resolv.conf")),
        )
        tasks.create_task(agent.run(), name="dns")
        await agent.synced.wait()
        ready.set()


def _outward_sockets(settings: ClusterSettings) -> SocketMaker:
    """Sockets to ask others with: the host's, for a cluster on a network of its own reaches nobody."""
    from petset.dns.server import make_host_socket

    return partial(borrow_outward_socket, settings.host_ports) if settings.host_ports else make_host_socket
