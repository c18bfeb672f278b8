"""controller: every control loop of the cluster, the scheduler included, in one process."""

from __future__ import annotations

import asyncio

from petset.actors.shell import Shell


class ControllerShell(Shell):
    async def run(self, ready: asyncio.Event) -> None:
        from petset.cluster.assemble.controllers import run_controllers

        await run_controllers(self.settings, ready)
