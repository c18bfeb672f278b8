"""Programs that ask from inside a pod, as users' programs would, and the name server outside that they may reach.

ConfigMap ask ── ask.py, commands.json, musl-lookup ──▶ pod `asker`, /opt/ask ──▶ its log: one JSON document
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dnslib import QTYPE, RCODE, RR, A, DNSRecord

OUTSIDE_NAME, OUTSIDE_ADDRESS = "www.example.test", "192.0.2.80"
TTL_SECONDS, NEGATIVE_TTL_SECONDS = 11, 7
FOLDER = "/opt/ask"
ASK = f"""
import json, subprocess
answers = {{}}
for name, command in json.load(open("{FOLDER}/commands.json")).items():
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    answers[name] = done.stdout.strip() or done.stderr.strip()
print(json.dumps(answers))
"""
GLIBC_LOOKUP = """
import socket, sys
try:
    print(*sorted({each[4][0] for each in socket.getaddrinfo(sys.argv[1], None)}), sep="\\n")
except socket.gaierror as error:
    print(error.strerror)
"""
MUSL_LOOKUP = r"""
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
int main(int count, char **arguments) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int error = getaddrinfo(arguments[1], 0, &hints, &found);
    if (error) return !printf("%s\n", gai_strerror(error));
    for (char text[64]; found; found = found->ai_next)
        puts(inet_ntop(AF_INET, &((struct sockaddr_in *)found->ai_addr)->sin_addr, text, sizeof text));
    return 0;
}
"""


def musl_lookup(folder: Path) -> bytes:
    """A static program that prints what musl's resolver finds; b"" where there is no musl compiler."""
    if shutil.which("musl-gcc") is None:
        return b""
    source, program = folder / "lookup.c", folder / "lookup"
    source.write_text(MUSL_LOOKUP)
    subprocess.run(["musl-gcc", "-static", "-Os", "-s", "-o", program, source], check=True, timeout=60)
    return program.read_bytes()


def config_map(commands: Mapping[str, Sequence[str]], musl_program: bytes) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "ask"},
        "data": {"ask.py": ASK, "commands.json": json.dumps(commands)},
        "binaryData": {"musl-lookup": base64.b64encode(musl_program or b"#!/bin/false\n").decode()},
    }


def asker() -> dict[str, Any]:
    mounts = [{"name": "ask", "mountPath": FOLDER}]
    container = {"name": "main", "image": "busybox", "command": ["python3", f"{FOLDER}/ask.py"], "volumeMounts": mounts}
    volumes = [{"name": "ask", "configMap": {"name": "ask", "defaultMode": 0o755}}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "asker"},
        "spec": {"restartPolicy": "Never", "containers": [container], "volumes": volumes},
    }


@contextmanager
def outside_name_server() -> Iterator[int]:
    """The port on the host's 127.0.0.1 of a server that knows one name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_answer, args=(bound,), daemon=True)
        thread.start()
        try:
            yield int(bound.getsockname()[1])
        finally:
            bound.sendto(b"", bound.getsockname())
            thread.join()


def _answer(bound: socket.socket) -> None:
    while True:
        packet, client = bound.recvfrom(512)
        if not packet:
            return
        query = DNSRecord.parse(packet)
        reply = query.reply()
        if str(query.q.qname).rstrip(".") != OUTSIDE_NAME:
            reply.header.rcode = RCODE.NXDOMAIN
        elif query.q.qtype == QTYPE.A:
            reply.add_answer(RR(query.q.qname, rdata=A(OUTSIDE_ADDRESS), ttl=60))
        bound.sendto(bytes(reply.pack()), client)
