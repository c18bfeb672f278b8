"""`metrics.k8s.io/v1beta1`: what nodes and pods use, for `kubectl top`; asked of the kubelets, kept nowhere.

    GET …/pods  ─► pods of the store ─► their nodes' kubelets (stats/summary), all at once ─► PodMetrics, by name
    GET …/nodes ─► nodes of the store ─► …                                                ─► NodeMetrics

As with metrics-server, who has no figures is left out of a list (kubectl then says "metrics not available yet") and is
a 404 by name: a pod without a running container, a node that does not answer within PATIENCE_SECONDS. Selectors are
those of the pods and nodes themselves. Left out: watch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import aiohttp

from petset.cluster.api.kinds import Kind
from petset.cluster.api.objects import Object, labels_of, name_of, namespace_of, uid_of
from petset.cluster.apiserver.api import Api
from petset.cluster.apiserver.kubelets import Kubelets
from petset.cluster.apiserver.options import ListOptions
from petset.cluster.errors import ApiError, NotFound

GROUP = "metrics.k8s.io"
PATIENCE_SECONDS = 5.0

log = logging.getLogger(__name__)


class Metrics:
    """Answers for the kinds of the group (kinds.MEASURED)."""

    def __init__(self, api: Api, kubelets: Kubelets) -> None:
        self._api = api
        self._kubelets = kubelets

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """The figures of one pod or node. Raises NotFound."""
        options = ListOptions(field_selector=f"metadata.name={name}")
        found: list[Object] = (await self.listing(kind, namespace, options))["items"]
        if not found:
            shown = f"{namespace}/{name}" if namespace else name
            raise NotFound(f'{kind.kind.lower()}.{GROUP} "{shown}" not found')
        return found[0]

    async def listing(self, kind: Kind, namespace: str, options: ListOptions) -> Object:
        """The figures of everything that matches. Raises BadRequest for a bad selector."""
        measured = self._api.registry.of_kind("Pod" if kind.kind == "PodMetrics" else "Node")
        objects = self._api.verbs.list(measured, namespace, options)["items"]
        items = await (self._pods(kind, objects) if measured.namespaced else self._nodes(kind, objects))
        metadata = {"resourceVersion": str(self._api.backend.revision)}
        return {"kind": kind.list_kind, "apiVersion": kind.api_version, "metadata": metadata, "items": items}

    async def _pods(self, kind: Kind, pods: Iterable[Object]) -> list[Object]:
        placed = [pod for pod in pods if pod["spec"].get("nodeName")]
        summaries = await self._summaries(dict.fromkeys(pod["spec"]["nodeName"] for pod in placed))
        stats = {each["podRef"]["uid"]: each for summary in summaries.values() for each in summary["pods"]}
        return [_pod_metrics(kind, pod, stats[uid_of(pod)]) for pod in placed if uid_of(pod) in stats]

    async def _nodes(self, kind: Kind, nodes: Iterable[Object]) -> list[Object]:
        by_name = {name_of(node): node for node in nodes}
        summaries = await self._summaries(by_name)
        stats = {name: summary["node"] for name, summary in summaries.items() if "cpu" in summary["node"]}
        return [
            _metrics(kind, node, [stats[name]]) | _usage(stats[name]) for name, node in by_name.items() if name in stats
        ]

    async def _summaries(self, nodes: Iterable[str]) -> dict[str, Object]:
        """What the nodes that answer say, by name."""
        names = list(nodes)
        answers = await asyncio.gather(*(self._summary(name) for name in names))
        return {name: answer for name, answer in zip(names, answers, strict=True) if answer is not None}

    async def _summary(self, node: str) -> Object | None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._kubelets.summary(node)
        except (ApiError, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.info("no figures of node %s: %s", node, error)
            return None


def _pod_metrics(kind: Kind, pod: Object, stats: Object) -> Object:
    containers = stats["containers"]
    return _metrics(kind, pod, containers) | {
        "containers": [{"name": each["name"], **_usage(each)} for each in containers]
    }


def _metrics(kind: Kind, measured: Object, stats: list[Object]) -> Object:
    """What both kinds have in common; the time and window are those of the first figure."""
    metadata: Object = {"name": name_of(measured), "labels": labels_of(measured)}
    if kind.namespaced:
        metadata["namespace"] = namespace_of(measured)
    cpu = stats[0]["cpu"]
    return {
        "kind": kind.kind,
        "apiVersion": kind.api_version,
        "metadata": metadata | {"creationTimestamp": cpu["time"]},
        "timestamp": cpu["time"],
        "window": f"{cpu['window']:g}s",
    }


def _usage(stats: Object) -> Object:
    """In the notation of metrics-server: nanocores and kibibytes."""
    kibibytes = stats["memory"]["workingSetBytes"] // 1024
    return {"usage": {"cpu": f"{stats['cpu']['usageNanoCores']}n", "memory": f"{kibibytes}Ki"}}
