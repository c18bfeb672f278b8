"""The tools of busybox, dnsutils and curl images: the host's programs, and small ones here for what the host lacks.

    toolbox sh -c …       the host's program of that name, in this process's place; or else
    toolbox dig SRV x     one of dig, nslookup (lookup.py), nc (netcat.py), curl (here)

`petapp/bin` holds a script of each name for a container's PATH, so that they are found from a shell as well: after the
host's own folders, or before them where the host's programs would not ask the cluster's DNS (images.py, `own_tools`).
The little curl knows `-s -i -X -d -H` and http; names are resolved by the pod's resolv.conf. Asked for more, it leaves
the work to the host's curl, if there is one.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from petset.petapp import lookup, netcat

NOT_FOUND_EXIT_CODE = 127
_CURL_OPTIONS = frozenset(("-s", "-i", "-X", "-d", "-H"))
_SCRIPTS = Path(__file__).resolve().parent / "bin"


def main() -> int:
    """Run `sys.argv[1:]`; the exit code, if that is still ours to give."""
    program, *arguments = sys.argv[1:] or ["sh"]
    found = shutil.which(program)
    if found and Path(found).resolve().parent != _SCRIPTS:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, others expect to die of it
        os.execv(found, [program, *arguments])
    if tool := _TOOLS.get(program):
        return tool(arguments)
    print(f'exec: "{program}": executable file not found in $PATH', file=sys.stderr)
    return NOT_FOUND_EXIT_CODE


def curl(arguments: list[str]) -> int:
    """A GET, or what the options say; the body goes to stdout."""
    unknown = any(word.startswith("-") and word not in _CURL_OPTIONS for word in arguments)
    if unknown and (found := _hosts("curl")):
        os.execv(found, ["curl", *arguments])
    try:
        return asyncio.run(_curl(arguments))
    except (OSError, ValueError) as error:
        print(f"curl: {error}", file=sys.stderr)
        return 7


def _hosts(program: str) -> str | None:
    """The host's program of that name, not ours."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return shutil.which(program, path=os.pathsep.join(each for each in folders if Path(each).resolve() != _SCRIPTS))


async def _curl(arguments: list[str]) -> int:
    from aiohttp import ClientSession  # only there: every lookup would wait for it
    from yarl import URL

    options: dict[str, list[str]] = {}
    words = iter(arguments)
    urls = []
    for word in words:
        if word in ("-X", "-d", "-H"):
            options.setdefault(word, []).append(next(words, ""))
        elif not word.startswith("-"):
            urls.append(URL(word if "://" in word else f"http://{word}"))
    async with ClientSession() as session:
        for url in urls:
            address = await lookup.address_of(url.host or "")
            given = (text.partition(":") for text in options.get("-H", ()))
            headers = {"Host": url.authority} | {name.strip(): value.strip() for name, _, value in given}
            data = "&".join(options["-d"]) if "-d" in options else None
            method = options.get("-X", ["POST" if data is not None else "GET"])[-1]
            async with session.request(method, url.with_host(address), headers=headers, data=data) as answer:
                if "-i" in arguments:
                    print(f"HTTP/1.1 {answer.status} {answer.reason}")
                    print("".join(f"{name}: {value}\n" for name, value in answer.headers.items()))
                sys.stdout.flush()
                sys.stdout.buffer.write(await answer.read())
    return 0


_TOOLS: dict[str, Callable[[list[str]], int]] = {
    "dig": lookup.dig,
    "nslookup": lookup.nslookup,
    "curl": curl,
    "nc": netcat.nc,
}


if __name__ == "__main__":
    sys.exit(main())
