"""dns: the cluster's name server, on the cluster IP of the `kube-dns` service."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from petset.actors.shell import Shell
from petset.cluster.settings import ClusterSettings

SWITCH_SECONDS = 0.0005


class DnsShell(Shell):
    async def run(self, ready: asyncio.Event) -> None:
        await run_dns(self.settings, ready)


async def run_dns(settings: ClusterSettings, ready: asyncio.Event) -> None:
    """Watch the API and answer queries until cancelled; ready once everything that existed is known."""
    from petset.cluster.assemble.client import http_client
    from petset.cluster.pki import DNS
    from petset.dns.agent import DnsAgent
    from petset.dns.forwarder import configured_upstreams

    # Answers come from a thread: the other ones of this process must not keep it from its next packet for long.
    sys.setswitchinterval(SWITCH_SECONDS)
    address = settings.addresses.dns_address
    async with http_client(settings, DNS) as client, asyncio.TaskGroup() as tasks:
        agent = DnsAgent(
            client,
            addresses=[address],
            host=address,
            port=settings.dns_port,
            ttl_seconds=settings.dns_ttl_seconds,
            negative_ttl_seconds=settings.dns_negative_ttl_seconds,
            upstreams=configured_upstreams(settings.dns_upstreams, Path("/etc/resolv.conf")),
        )
        tasks.create_task(agent.run(), name="dns")
        await agent.synced.wait()
        ready.set()
