"""The fault gate: HTTP on a Unix socket, for the owner of the cluster alone (0600, in a 0700 folder).

    POST   /faults      a fault ─▶ 201 its entry          400 no fault │ 404 no such target │ 409 cannot here, or now
    GET    /faults      every entry of this run           errors are {"message": one line}
    DELETE /faults/ID   ─▶ the entry │ 404 │ 500 it could not be healed
    DELETE /faults      ─▶ the entries that were healed, newest first
    GET    /processes   first processes of containers, and components (census.py)
    GET    /leftovers   what belongs to no pod (census.py)

A fault is injected and healed to the end though its asker hangs up. Bodies are at most 64 KiB.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from petset.cluster.chaos.census import leftovers, processes
from petset.cluster.chaos.errors import BadFault, FaultError
from petset.cluster.chaos.faults import parse_fault
from petset.cluster.chaos.register import Register
from petset.cluster.chaos.world import World
from petset.cluster.clock import Clock

MAX_BODY_BYTES = 64 * 1024
SHUTDOWN_SECONDS = 1.0

log = logging.getLogger(__name__)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def fault_gate(world: World, path: Path, clock: Clock) -> AsyncIterator[Register]:
    """Serve the gate of a cluster at `path` until the block ends, which heals what is not healed yet."""
    async with Register(world, clock) as register:
        runner = web.AppRunner(gate_application(world, register), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            mask = os.umask(0o177)
            try:
                await web.UnixSite(runner, path).start()
            finally:
                os.umask(mask)
            yield register
        finally:
            await runner.cleanup()


def gate_application(world: World, register: Register) -> web.Application:
    """The routes above."""

    async def inject(request: web.Request) -> web.Response:
        entry = await register.inject(parse_fault(await _json_of(request)))
        return web.json_response(entry.as_json(), status=201)

    async def faults(_: web.Request) -> web.Response:
        return web.json_response([entry.as_json() for entry in register.entries()])

    async def heal(request: web.Request) -> web.Response:
        return web.json_response((await register.heal(request.match_info["id"])).as_json())

    async def heal_all(_: web.Request) -> web.Response:
        return web.json_response([entry.as_json() for entry in await register.heal_all()])

    async def get_processes(_: web.Request) -> web.Response:
        return web.json_response(await processes(world))

    async def get_leftovers(_: web.Request) -> web.Response:
        return web.json_response(await leftovers(world))

    application = web.Application(middlewares=[_say_errors], client_max_size=MAX_BODY_BYTES)
    application.add_routes(
        [
            web.post("/faults", inject),
            web.get("/faults", faults),
            web.delete("/faults/{id}", heal),
            web.delete("/faults", heal_all),
            web.get("/processes", get_processes),
            web.get("/leftovers", get_leftovers),
        ]
    )
    return application


@web.middleware
async def _say_errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except FaultError as error:
        return web.json_response({"message": str(error)}, status=error.status)
    except web.HTTPException as error:
        return web.json_response({"message": error.reason}, status=error.status)
    except Exception as error:  # a bug of ours: the asker gets a line all the same, the log has the rest
        log.exception("%s %s failed", request.method, request.path)
        return web.json_response({"message": f"this went wrong: {error!r}; the cluster's log has more"}, status=500)


async def _json_of(request: web.Request) -> Any:
    try:
        return await request.json()
    except ValueError as error:
        raise BadFault(f"the body is not JSON: {error}") from error
