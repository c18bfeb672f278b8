"""controller: every control loop of the cluster, the scheduler included, in one process."""

from __future__ import annotations

import asyncio

from petset.actors.shell import Shell
from petset.cluster.chaos.errors import NoSuchTarget
from petset.cluster.control.watch_troubles import EVERY_WATCH, WatchTrouble


class ControllerShell(Shell):
    async def run(self, ready: asyncio.Event) -> None:
        from petset.actors.runtime_client import RemoteMachines
        from petset.cluster.assemble.controllers import run_controllers

        await run_controllers(self.settings, ready, self.watch_troubles, machines=RemoteMachines())

    async def trouble_watches(self, key: str, watcher: str, trouble: WatchTrouble) -> None:
        """Raises NoSuchTarget for a controller that is not here."""
        from petset.cluster.assemble.controllers import controller_names

        names = controller_names(self.settings)
        if watcher not in (EVERY_WATCH, *names):
            raise NoSuchTarget(f"there is no controller {watcher}; there are {', '.join(names)}")
        await super().trouble_watches(key, watcher, trouble)
