"""The environment that a private Ray starts in. Must be in place before the first `import ray` of the process.

Ray reads its switches once, at import, and hands the environment on to every process that it starts. What they do
here, and why (Ray 2.60):

- every RAY_ variable of the user goes: a private Ray neither joins nor looks like another Ray of this machine;
- RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 makes Ray take 127.0.0.1 as the node's address, as it does by default on
  macOS and Windows, and then all of its servers listen there only. (`_node_ip_address="127.0.0.1"` does not: Ray
  replaces it by an outside address, and listens on all interfaces.)
- token authentication with a token file of our own, readable by the user alone; by default Ray writes one that all
  can read;
- workers start at the rate of the machine's cores: more at a time would starve the raylet, and `ray.init` then
  sleeps for a whole second before it looks again whether the raylet is there;
- PYTHONDONTWRITEBYTECODE goes: without bytecode every worker compiles Ray again, which doubles the start-up time;
- SSL_CERT_FILE and SSL_CERT_DIR point nowhere: aiohttp loads the machine's certificate authorities when it is imported
  (40 ms in each of a dozen processes), and no component of a cluster trusts any but the cluster's own;
- silence is no death: what a fault has frozen goes on as what it was, where Ray gives calls to a silent actor up after
  seven minutes, and takes a silent Ray node for dead after one. Closed connections are still seen at once.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import MutableMapping
from pathlib import Path

from petset.cluster.settings import write_private

PATIENCE_MS = 86_400_000
"""A day, as long as a fault may last."""


def prepare_private_ray(environment: MutableMapping[str, str], run_folder: Path, core_count: int) -> None:
    """Change the environment for a Ray of our own, and write its token file."""
    token_path = run_folder / "ray-token"
    write_private(token_path, secrets.token_hex(32).encode())
    for name in [name for name in environment if name.startswith("RAY_")]:
        del environment[name]
    environment.update(
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=str(token_path),
        RAY_USAGE_STATS_ENABLED="0",
        RAY_worker_maximum_startup_concurrency=str(max(2, core_count)),
        RAY_health_check_timeout_ms=str(PATIENCE_MS),
        RAY_grpc_client_keepalive_time_ms=str(PATIENCE_MS),
        SSL_CERT_FILE=os.devnull,
        SSL_CERT_DIR=os.devnull,
    )
    environment.pop("PYTHONDONTWRITEBYTECODE", None)


def prepare_joined_ray(environment: MutableMapping[str, str]) -> None:
    """Change the environment for joining someone else's Ray: only what concerns this process."""
    environment["RAY_USAGE_STATS_ENABLED"] = "0"
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
