"""luksa/kubia-pet-peers: keeps its own piece of data, and shows everybody's.

    GET  /data            the data of this pod alone
    GET  any other path   You've hit kubia-1
                          Data stored in the cluster:
                          - kubia-0.kubia.default.svc.cluster.local: nice!
                          - kubia-1.kubia.default.svc.cluster.local: No data posted yet
    POST any path         as kubia-pet

The members come from the cluster's DNS at every request (peers.py). When they cannot be found, the last part of the
answer is one line, "Could not look up DNS SRV records: why", with status 200 as in the book's application.
"""

from __future__ import annotations

from random import SystemRandom

from aiohttp import web

from petset.petapp.kubia import greeting
from petset.petapp.kubia_pet import NO_DATA, Pet, text_response
from petset.petapp.peers import cluster_lines
from petset.petapp.resolver import Resolver, read_resolv_conf
from petset.petapp.serving import Settings, run_guest
from petset.petapp.storage import MAX_BYTES, DataFile


def cluster_page(hostname: str, lines: list[bytes]) -> bytes:
    """The answer to GET from the lines of the peers, or from the one line that says why there are none."""
    return greeting(hostname).encode() + b"Data stored in the cluster:\n" + b"".join(lines)


def lookup_failure_line(error: OSError) -> bytes:
    return f"Could not look up DNS SRV records: {error}\n".encode()


def make_app(settings: Settings) -> web.Application:
    pet = Pet(settings.hostname, DataFile(settings.data_folder))

    async def show_own(request: web.Request) -> web.Response:
        data = await pet.data()
        return text_response(NO_DATA if data is None else data)

    async def show_cluster(request: web.Request) -> web.Response:
        try:
            resolver = Resolver(read_resolv_conf(settings.resolv_conf), SystemRandom())
            lines = await cluster_lines(resolver, settings.service, settings.port)
        except OSError as error:
            lines = [lookup_failure_line(error)]
        return text_response(cluster_page(settings.hostname, lines))

    app = web.Application(client_max_size=MAX_BYTES)
    app.on_startup.append(pet.prepare)
    app.router.add_get("/data", show_own)
    app.router.add_get("/{path:.*}", show_cluster)
    app.router.add_post("/{path:.*}", pet.store)
    return app


def main() -> None:
    """Serve until SIGTERM."""
    run_guest("kubia-pet-peers", make_app)


if __name__ == "__main__":
    main()
