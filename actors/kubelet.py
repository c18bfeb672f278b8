"""kubelet-N: the agent of node-N, which is another actor: the kubelet may die while its node's pods go on."""

from __future__ import annotations

import asyncio

from petset.actors.lifeline import Lifeline
from petset.actors.shell import Shell
from petset.cluster.settings import ClusterSettings


class KubeletShell(Shell):
    def __init__(self, settings: ClusterSettings, actor_name: str, lifeline: Lifeline, node_name: str) -> None:
        super().__init__(settings, actor_name, lifeline)
        self._node_name = node_name

    async def run(self, ready: asyncio.Event) -> None:
        from petset.actors.runtime_client import RemoteRuntime
        from petset.cluster.assemble.kubelet import run_kubelet

        await run_kubelet(self.settings, self._node_name, RemoteRuntime(self._node_name), ready)
