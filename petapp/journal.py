"""petset/journal: a log of short texts on its own disk, for experiments that ask what survived.

    POST /entries       one line of text (at most 256 bytes) ──► 201 {"pod": "journal-0"}, once it is on the disk
    GET  /entries       every entry, oldest first, one per line
    GET  /lookup?name=  ["10.244.1.4", …]: what this pod's DNS answers now, sorted; 502 with the reason if it does not
    GET  any other path the pod's name

An entry is one record, `\\n` + checksum + space + text + `\\n`, appended with one write and fsynced before the answer.
A record that a crash or a full disk cut short fails its checksum and is never shown; the next one begins on a line
of its own, so it costs nobody else. An answer of 500 says that the disk failed: the entry may or may not be there.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from pathlib import Path
from random import SystemRandom

from aiohttp import web

from petset.petapp.dns_exchange import LookupFailure
from petset.petapp.resolver import Resolver, read_resolv_conf
from petset.petapp.serving import Settings, log, run_guest

MAX_ENTRY_BYTES = 256


def record(entry: str) -> bytes:
    """The bytes that stand for an entry on the disk."""
    text = entry.encode()
    return b"\n%08x %b\n" % (zlib.crc32(text), text)


def entries_of(content: bytes) -> list[str]:
    """The entries of a journal; lines that are no whole record are left out."""
    return [text.decode() for line in content.split(b"\n") if (text := _text_of(line)) is not None]


def _text_of(line: bytes) -> bytes | None:
    checksum, space, text = line.partition(b" ")
    return text if space and checksum == b"%08x" % zlib.crc32(text) else None


class JournalFile:
    """`journal.log` in a folder. Calls block on the disk; asyncio code makes them in a thread."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal.log"
        self._is_in_folder = False
        """Whether this process knows that its name is on the disk as well: a former one may have failed just there."""

    def append(self, entry: str) -> None:
        """The entry is on the disk when this returns. Raises OSError: it may or may not be there."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            content = record(entry)
            if os.write(descriptor, content) != len(content):
                raise OSError("the disk took a part of the entry only")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if not self._is_in_folder:
            self._sync_folder()
            self._is_in_folder = True

    def entries(self) -> list[str]:
        """Every entry, oldest first. Raises OSError."""
        try:
            return entries_of(self._path.read_bytes())
        except FileNotFoundError:
            return []

    def _sync_folder(self) -> None:
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class JournalPages:
    """The handlers over one journal."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._file = JournalFile(settings.data_folder)

    async def append(self, request: web.Request) -> web.Response:
        entry = (await request.read()).decode(errors="replace").strip()
        if not entry or "\n" in entry or len(entry.encode()) > MAX_ENTRY_BYTES:
            raise web.HTTPBadRequest(text=f"an entry is one line of at most {MAX_ENTRY_BYTES} bytes\n")
        try:
            await asyncio.to_thread(self._file.append, entry)
        except OSError as error:
            raise self._disk_failure("store", error) from error
        return web.json_response({"pod": self._settings.hostname}, status=201)

    async def show(self, request: web.Request) -> web.Response:
        try:
            entries = await asyncio.to_thread(self._file.entries)
        except OSError as error:
            raise self._disk_failure("read", error) from error
        return web.Response(text="".join(f"{entry}\n" for entry in entries))

    async def lookup(self, request: web.Request) -> web.Response:
        try:
            resolver = Resolver(read_resolv_conf(self._settings.resolv_conf), SystemRandom())
            return web.json_response(sorted(await resolver.addresses(request.query.get("name", ""))))
        except (LookupFailure, ValueError) as error:
            raise web.HTTPBadGateway(text=f"{error}\n") from error

    async def greet(self, request: web.Request) -> web.Response:
        return web.Response(text=f"{self._settings.hostname}\n")

    def _disk_failure(self, deed: str, error: OSError) -> web.HTTPInternalServerError:
        line = f"Could not {deed} on pod {self._settings.hostname}: {error.strerror or error}"
        log.warning("%s", line)
        return web.HTTPInternalServerError(text=line + "\n")


def make_app(settings: Settings) -> web.Application:
    pages = JournalPages(settings)
    app = web.Application(client_max_size=MAX_ENTRY_BYTES * 4)
    app.router.add_post("/entries", pages.append)
    app.router.add_get("/entries", pages.show)
    app.router.add_get("/lookup", pages.lookup)
    app.router.add_get("/{path:.*}", pages.greet)
    return app


def main() -> None:
    """Serve until SIGTERM."""
    run_guest("journal", make_app)


if __name__ == "__main__":
    main()
