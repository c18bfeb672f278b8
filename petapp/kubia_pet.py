"""luksa/kubia-pet: keeps one piece of data on its own disk.

    GET  any path   You've hit kubia-0
                    Data stored on this pod: Hey there!      (or: No data posted yet)
    POST any path   stores the body (at most 1 MiB, else 413) and answers   Data stored on pod kubia-0

The data is stored whole and durable before the answer (storage.py). A disk that fails makes a 500 with one line that
says why. Answers are bytes: what was posted comes back as it was, though it is announced as UTF-8 text.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from petset.petapp.kubia import greeting
from petset.petapp.serving import Settings, log, run_guest
from petset.petapp.storage import MAX_BYTES, DataFile

NO_DATA = b"No data posted yet"


def pet_page(hostname: str, data: bytes | None) -> bytes:
    """The answer to GET; `data` is None while nothing was stored."""
    return greeting(hostname).encode() + b"Data stored on this pod: " + (NO_DATA if data is None else data) + b"\n"


def stored_page(hostname: str) -> bytes:
    """The answer to a POST that was stored."""
    return f"Data stored on pod {hostname}\n".encode()


def text_response(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="text/plain", charset="utf-8")


class Pet:
    """The handlers over one data file; kubia-pet-peers shares them."""

    def __init__(self, hostname: str, data_file: DataFile) -> None:
        self._hostname = hostname
        self._data_file = data_file

    async def prepare(self, app: web.Application) -> None:
        """Make the disk ready. A disk that is not is no reason to stay down: each request then says so."""
        try:
            await asyncio.to_thread(self._data_file.prepare)
        except OSError as error:
            log.warning("The data folder is not usable: %s", error)

    async def show(self, request: web.Request) -> web.Response:
        return text_response(pet_page(self._hostname, await self.data()))

    async def store(self, request: web.Request) -> web.Response:
        data = await request.read()
        try:
            await asyncio.to_thread(self._data_file.store, data)
        except OSError as error:
            raise self._disk_failure("store", error) from error
        log.info("New data has been received and stored")
        return text_response(stored_page(self._hostname))

    async def data(self) -> bytes | None:
        """The stored data, None if there is none. Raises HTTPInternalServerError when the disk fails."""
        try:
            return await asyncio.to_thread(self._data_file.read)
        except OSError as error:
            raise self._disk_failure("read", error) from error

    def _disk_failure(self, deed: str, error: OSError) -> web.HTTPInternalServerError:
        line = f"Could not {deed} data on pod {self._hostname}: {error.strerror or error}"
        log.warning("%s", line)
        return web.HTTPInternalServerError(text=line + "\n")


def make_app(settings: Settings) -> web.Application:
    pet = Pet(settings.hostname, DataFile(settings.data_folder))
    app = web.Application(client_max_size=MAX_BYTES)
    app.on_startup.append(pet.prepare)
    app.router.add_get("/{path:.*}", pet.show)
    app.router.add_post("/{path:.*}", pet.store)
    return app


def main() -> None:
    """Serve until SIGTERM."""
    run_guest("kubia-pet", make_app)


if __name__ == "__main__":
    main()
