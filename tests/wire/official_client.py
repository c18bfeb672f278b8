"""The official Python client at work, as a process of its own: it leaves connections open. KUBECONFIG as argument."""

from __future__ import annotations

import json
import sys

import kubernetes
from kubernetes.stream import portforward, stream


def api() -> kubernetes.client.CoreV1Api:
    return kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(sys.argv[1]))


def command() -> str:
    return str(
        stream(
            api().connect_get_namespaced_pod_exec, "web", "default", command=["sh", "-c", "echo hi"],
            stdin=False, stdout=True, stderr=True, tty=False,
        )
    )  # fmt: skip


def shell() -> tuple[str, int]:
    session = stream(
        api().connect_get_namespaced_pod_exec, "web", "default", command=["sh"],
        stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False,
    )  # fmt: skip
    session.write_stdin("echo from a shell\nexit 7\n")
    session.run_forever(timeout=20)
    return session.read_stdout(), session.returncode


def forwarded() -> str:
    forward = portforward(api().connect_get_namespaced_pod_portforward, "web", "default", ports="8080")
    line = forward.socket(8080)
    line.setblocking(True)
    line.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
    answer = b""
    while piece := line.recv(65536):
        answer += piece
    return answer.decode()


if __name__ == "__main__":
    log = api().read_namespaced_pod_log("web", "default")
    print(json.dumps({"command": command(), "shell": shell(), "forwarded": forwarded(), "log": log}))
