"""What /metrics tells of the requests of a server, read back with Prometheus' own parser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from petset.cluster.apiserver.request_counts import BUCKETS_SECONDS, RequestCounts
from tests.apis import create, manifest_pod, new_api

PODS = "/api/v1/namespaces/default/pods"
OF_PODS = {"group": "", "version": "v1", "resource": "pods", "component": "apiserver"}


async def counts() -> RequestCounts:
    api = await new_api()
    await create(api, manifest_pod())
    return RequestCounts(api.registry, api.backend)


def samples(of: RequestCounts, name: str) -> list[tuple[dict[str, str], float]]:
    """(labels, value) of every sample of that name."""
    families = text_string_to_metric_families(of.text()[0].decode())
    return [(each.labels, each.value) for family in families for each in family.samples if each.name == name]


REQUESTS: list[tuple[str, str, str, dict[str, str], str, dict[str, str]]] = [
    # method, path, query, content type ─▶ labels that differ from those of an unlabelled request
    ("a-list", "GET", PODS, {}, "", OF_PODS | {"verb": "LIST", "scope": "namespace"}),
    ("of-all-namespaces", "GET", "/api/v1/pods", {}, "", OF_PODS | {"verb": "LIST", "scope": "cluster"}),
    ("a-watch", "GET", PODS, {"watch": "1"}, "", OF_PODS | {"verb": "WATCH", "scope": "namespace"}),
    ("one-object", "GET", f"{PODS}/a", {}, "", OF_PODS | {"verb": "GET", "scope": "resource"}),
    ("a-creation", "POST", PODS, {"dryRun": "All"}, "",
     OF_PODS | {"verb": "POST", "scope": "namespace", "dry_run": "All"}),
    ("an-apply", "PATCH", f"{PODS}/a", {}, "application/apply-patch+yaml",
     OF_PODS | {"verb": "APPLY", "scope": "resource"}),
    ("a-status", "PUT", f"{PODS}/a/status", {}, "",
     OF_PODS | {"verb": "PUT", "scope": "resource", "subresource": "status"}),
    ("a-session", "POST", f"{PODS}/a/exec", {}, "",
     OF_PODS | {"verb": "CONNECT", "scope": "resource", "subresource": "exec"}),
    ("a-collections-end", "DELETE", PODS, {}, "", OF_PODS | {"verb": "DELETECOLLECTION", "scope": "namespace"}),
    ("no-resource", "GET", "/healthz", {}, "", {"verb": "GET", "component": "apiserver"}),
    ("what-is-not-served", "GET", "/apis/x/v1/things", {}, "", {"verb": "GET", "component": "apiserver"}),
    ("words-of-the-clients-own", "FOO", f"{PODS}/a/bar", {"dryRun": "x"}, "",
     OF_PODS | {"verb": "OTHER", "scope": "resource"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "query", "content_type", "labels"), [pytest.param(*row[1:], id=row[0]) for row in REQUESTS]
)
async def test_a_request_is_counted_under_its_labels(
    method: str, path: str, query: Mapping[str, str], content_type: str, labels: dict[str, Any]
) -> None:
    of = await counts()
    asked = of.began(method, path, query, content_type=content_type)
    of.ended(asked, 200, 0.1)
    [(found, value)] = samples(of, "apiserver_request_total")
    assert ({name: text for name, text in found.items() if text}, value) == (
        {name: text for name, text in labels.items() if text} | {"code": "200"}, 1.0,
    )  # fmt: skip


async def test_durations_add_up_in_buckets() -> None:
    of = await counts()
    for seconds in (0.001, 0.005, 0.03, 100.0):
        of.ended(of.began("GET", PODS, {}), 200, seconds)
    found = {labels["le"]: value for labels, value in samples(of, "apiserver_request_duration_seconds_bucket")}
    assert (found["0.005"], found["0.025"], found["0.05"], found["60"], found["+Inf"]) == (2, 2, 3, 3, 4)
    assert len(found) == len(BUCKETS_SECONDS) + 1
    assert [value for _, value in samples(of, "apiserver_request_duration_seconds_sum")] == [pytest.approx(100.036)]


async def test_what_runs_now_is_counted_apart_from_what_runs_long() -> None:
    of = await counts()
    of.began("POST", PODS, {})
    of.began("GET", PODS, {"watch": "true"})
    ended = of.began("GET", PODS, {})
    of.ended(ended, 200, 0.1)
    inflight = {labels["request_kind"]: value for labels, value in samples(of, "apiserver_current_inflight_requests")}
    assert inflight == {"mutating": 1, "readOnly": 0}
    [(labels, value)] = samples(of, "apiserver_longrunning_requests")
    assert (labels["verb"], value) == ("WATCH", 1)


async def test_stored_objects_and_the_process_itself() -> None:
    of = await counts()
    stored = {labels["resource"]: value for labels, value in samples(of, "apiserver_storage_objects")}
    assert (stored["pods"], stored["statefulsets.apps"], stored["namespaces"]) == (1, 0, 4)
    assert samples(of, "process_resident_memory_bytes")[0][1] > 0
