"""What the commands read from a running cluster: versions, nodes and pods, over HTTPS as any client would.

One kept-alive connection of the standard library; the commands are sequential programs, and start fast without a
client framework. Every failure to get an answer is `NoAnswer`: a cluster that starts or stops may not answer.
"""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any

from petset.cluster.api.times import parse_time
from petset.cluster.pki import ADMIN, client_context, token_of
from petset.cluster.settings import ClusterSettings

TIMEOUT_SECONDS = 5.0


class NoAnswer(Exception):
    """The API server did not answer, or not with what was asked for."""


@dataclass(frozen=True)
class Node:
    name: str
    ready: bool


@dataclass(frozen=True)
class Pod:
    """`status` is what kubectl shows: the phase, or the reason that keeps a container from running."""

    namespace: str
    name: str
    node: str
    address: str
    status: str
    ready: bool


class ApiReader:
    """Reads as the cluster's administrator."""

    def __init__(self, settings: ClusterSettings) -> None:
        try:
            context = client_context(settings.folder)
            token = token_of(settings.folder, ADMIN)
        except (OSError, KeyError) as error:
            raise NoAnswer(f"no credentials ({error})") from error
        self._connection = http.client.HTTPSConnection(
            "127.0.0.1", settings.port, timeout=TIMEOUT_SECONDS, context=context
        )
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}

    def close(self) -> None:
        self._connection.close()

    def version(self) -> str:
        """The Kubernetes version that the API server speaks (`v1.33.0`)."""
        return str(self._get("/version").get("gitVersion", ""))

    def nodes(self) -> list[Node]:
        return [_node(item) for item in self._get("/api/v1/nodes").get("items") or []]

    def lease_times(self) -> dict[str, float]:
        """When each node's kubelet last renewed its lease, as Unix time."""
        leases = self._get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases").get("items") or []
        renewed = {lease["metadata"]["name"]: lease["spec"].get("renewTime") for lease in leases}
        return {name: parse_time(text) for name, text in renewed.items() if text}

    def pods(self) -> list[Pod]:
        return [pod_from_object(item) for item in self._get("/api/v1/pods").get("items") or []]

    def _get(self, path: str) -> dict[str, Any]:
        try:
            self._connection.request("GET", path, headers=self._headers)
            response = self._connection.getresponse()
            body = response.read()
            if response.status != http.HTTPStatus.OK:
                raise NoAnswer(f"GET {path}: status {response.status}")
            answer = json.loads(body)
        except (OSError, ssl.SSLError, http.client.HTTPException, json.JSONDecodeError) as error:
            self._connection.close()  # the next request opens a new one
            raise NoAnswer(str(error)) from error
        if not isinstance(answer, dict):
            raise NoAnswer(f"GET {path}: not an object")
        return answer


def _node(item: dict[str, Any]) -> Node:
    conditions = {each["type"]: each["status"] for each in item.get("status", {}).get("conditions") or []}
    return Node(item["metadata"]["name"], conditions.get("Ready") == "True")


def pod_from_object(item: dict[str, Any]) -> Pod:
    """A `v1 Pod` as the commands show it."""
    metadata, status = item["metadata"], item.get("status", {})
    conditions = {each["type"]: each["status"] for each in status.get("conditions") or []}
    return Pod(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        node=item.get("spec", {}).get("nodeName", ""),
        address=status.get("podIP", ""),
        status=_pod_status(item),
        ready=conditions.get("Ready") == "True",
    )


def _pod_status(item: dict[str, Any]) -> str:
    if item["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for container in item.get("status", {}).get("containerStatuses") or []:
        state = container.get("state") or {}
        waiting = state.get("waiting") or {}
        if waiting.get("reason"):
            return str(waiting["reason"])
    return str(item.get("status", {}).get("phase") or "Pending")
