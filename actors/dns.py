"""dns: the cluster's name server, on the cluster IP of the `kube-dns` service."""

from __future__ import annotations

import asyncio

from petset.actors.shell import Shell
from petset.cluster.settings import ClusterSettings


class DnsShell(Shell):
    async def run(self, ready: asyncio.Event) -> None:
        await run_dns(self.settings, ready)


async def run_dns(settings: ClusterSettings, ready: asyncio.Event) -> None:
    """Watch the API and answer queries until cancelled; ready once everything that existed is known."""
    from petset.cluster.assemble.client import http_client
    from petset.cluster.pki import DNS
    from petset.dns.agent import DnsAgent

    address = settings.addresses.dns_address
    async with http_client(settings, DNS) as client, asyncio.TaskGroup() as tasks:
        agent = DnsAgent(client, addresses=[address], host=address, port=settings.dns_port)
        tasks.create_task(agent.run(), name="dns")
        await agent.synced.wait()
        ready.set()
