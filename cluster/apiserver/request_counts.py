"""`/metrics`: how many requests there were, how long they took, and what is stored, in Prometheus' text format.

    request ─▶ began(…) ─▶ … ─▶ ended(code): two dictionaries, some microseconds
    scrape  ─▶ collect(): the dictionaries as the real server's metrics of the same names and labels

The names: apiserver_request_total, apiserver_request_duration_seconds, apiserver_current_inflight_requests,
apiserver_longrunning_requests, apiserver_storage_objects, process_*. Requests for paths that name no resource, or one
that is not served, have empty labels, and unknown words count as none: clients cannot make up series. Left out: all
other metrics of the real server.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from petset.cluster.api.kinds import Registry
from petset.cluster.apiserver.bodies import APPLY_TYPE
from petset.cluster.apiserver.options import is_true
from petset.cluster.apiserver.paths import ResourcePath, parse_path
from petset.cluster.errors import NotFound
from petset.cluster.store.backend import Backend

if TYPE_CHECKING:  # loaded by the first scrape: most clusters never see one
    from prometheus_client import Metric

BUCKETS_SECONDS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60,
)  # fmt: skip
"""As the real server's (endpoints/metrics/metrics.go)."""

_LONG_RUNNING = ("attach", "exec", "log", "portforward", "proxy")
_CHANGING = ("POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION")
_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
_SUBRESOURCES = (
    *_LONG_RUNNING, "approval", "binding", "ephemeralcontainers", "eviction", "finalize", "scale", "status", "token",
)  # fmt: skip
_LABELS = ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request is for, as the real server labels it. `scope` is resource, namespace or cluster."""

    verb: str
    dry_run: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    scope: str = ""

    @property
    def is_long(self) -> bool:
        return self.verb in ("WATCH", "CONNECT") or self.subresource in _LONG_RUNNING

    @property
    def labels(self) -> tuple[str, ...]:
        return (
            self.verb, self.dry_run, self.group, self.version, self.resource, self.subresource, self.scope, "apiserver",
        )  # fmt: skip


@dataclass(slots=True)
class _Durations:
    total_seconds: float = 0.0
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_SECONDS) + 1))
    """How many were at most as long as each bucket and longer than the one before; the last, than all."""


class RequestCounts:
    """The figures of one API server since it started."""

    def __init__(self, registry: Registry, backend: Backend) -> None:
        self._registry = registry
        self._backend = backend
        self._ended: Counter[tuple[Asked, int]] = Counter()
        self._durations: dict[Asked, _Durations] = {}
        self._running: Counter[Asked] = Counter()

    def began(self, method: str, raw_path: str, query: Mapping[str, str], *, content_type: str = "") -> Asked:
        """A request has come; to be followed by `ended`."""
        method = method if method in _METHODS else "OTHER"
        try:
            path = parse_path(raw_path)
            if path is not None:
                self._registry.at_path(path.group, path.version, path.plural)
        except NotFound:
            path = None
        asked = _asked(method, path, query, content_type) if path else Asked(method)
        self._running[asked] += 1
        return asked

    def ended(self, asked: Asked, code: int, seconds: float) -> None:
        """It was answered, with that code (0: not at all), after so long."""
        self._running[asked] -= 1
        self._ended[asked, code] += 1
        durations = self._durations.setdefault(asked, _Durations())
        durations.total_seconds += seconds
        durations.counts[bisect_left(BUCKETS_SECONDS, seconds)] += 1

    def text(self) -> tuple[bytes, str]:
        """(body, content type) of an answer. The first time, it loads what that takes."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        return generate_latest(registry), CONTENT_TYPE_LATEST

    def collect(self) -> Iterable[Metric]:
        """What Prometheus' client asks for."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        total = CounterMetricFamily("apiserver_request", "Counter of apiserver requests.", labels=[*_LABELS, "code"])
        for (asked, code), count in self._ended.items():
            total.add_metric([*asked.labels, str(code)], count)
        yield total
        name = "apiserver_request_duration_seconds"
        latency = HistogramMetricFamily(name, "Response latency distribution in seconds.", labels=_LABELS)
        for asked, durations in self._durations.items():
            bounds = [*(f"{bound:g}" for bound in BUCKETS_SECONDS), "+Inf"]
            buckets = [*zip(bounds, accumulate(durations.counts), strict=True)]
            latency.add_metric(asked.labels, buckets, durations.total_seconds)
        yield latency
        now = [asked for asked, count in self._running.items() for _ in range(count)]
        short = Counter("mutating" if asked.verb in _CHANGING else "readOnly" for asked in now if not asked.is_long)
        inflight = GaugeMetricFamily(
            "apiserver_current_inflight_requests", "Requests that are being answered.", labels=["request_kind"]
        )
        for kind in ("mutating", "readOnly"):
            inflight.add_metric([kind], short[kind])
        yield inflight
        longrunning = GaugeMetricFamily(
            "apiserver_longrunning_requests", "Watches, sessions and proxied requests that are open.", labels=_LABELS
        )
        for asked, count in self._running.items():
            if asked.is_long and count:
                longrunning.add_metric(asked.labels, count)
        yield longrunning
        stored = GaugeMetricFamily("apiserver_storage_objects", "Number of stored objects.", labels=["resource"])
        for resource in sorted({kind.stored_as for kind in self._registry.kinds if kind.stored}):
            stored.add_metric([resource], len(self._backend.objects(resource)))
        yield stored


def _asked(method: str, path: ResourcePath, query: Mapping[str, str], content_type: str) -> Asked:
    scope = "resource" if path.name else "namespace" if path.namespace else "cluster"
    return Asked(
        verb=_verb(method, path, query, content_type),
        dry_run="All" if query.get("dryRun") == "All" else "",
        group=path.group,
        version=path.version,
        resource=path.plural,
        subresource=path.subresource if path.subresource in _SUBRESOURCES else "",
        scope=scope,
    )


def _verb(method: str, path: ResourcePath, query: Mapping[str, str], content_type: str) -> str:
    if path.subresource in _LONG_RUNNING and path.subresource != "log":
        return "CONNECT"
    if method == "GET" and not path.name:
        return "WATCH" if is_true(query.get("watch")) else "LIST"
    if method == "DELETE" and not path.name:
        return "DELETECOLLECTION"
    return "APPLY" if method == "PATCH" and content_type.startswith(APPLY_TYPE) else method
