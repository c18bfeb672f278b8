"""api-server: serves the API on the listener that the supervisor holds, so its port outlives it."""

from __future__ import annotations

import asyncio

from petset.actors.listeners import API, take_listener
from petset.actors.shell import Shell


class ApiServerShell(Shell):
    async def run(self, ready: asyncio.Event) -> None:
        from petset.cluster.assemble.api_server import run_api_server

        listener = await take_listener(self.settings.run_folder, API)
        await run_api_server(self.settings, listener, ready)
