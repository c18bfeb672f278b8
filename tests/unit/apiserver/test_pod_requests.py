"""Requests for logs and streams: which container, which options, and the refusals in the API server's words."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.objects import Object
from petset.cluster.apiserver.pod_requests import container_of, log_query, must_run, no_log
from petset.cluster.errors import ApiError, BadRequest, Invalid


def pod(*names: str, init: tuple[str, ...] = (), node: str = "node-1", **status: Any) -> Object:
    spec = {
        "containers": [{"name": name} for name in names],
        "initContainers": [{"name": name} for name in init],
        "nodeName": node,
    }
    return {"metadata": {"name": "pet"}, "spec": spec, "status": status}


def test_the_only_container_needs_no_name() -> None:
    assert container_of(pod("a", init=("first",)), "") == "a"
    assert container_of(pod("a", init=("first",)), "first") == "first"


REFUSED_NAMES = {
    "several": (pod("a", "b"), "", "a container name must be specified for pod pet, choose one of: [a b]"),
    "several and init": (pod("a", "b", init=("i",)), "", "[a b] or one of the init containers: [i]"),
    "unknown": (pod("a"), "x", "container x is not valid for pod pet"),
}


@pytest.mark.parametrize(("obj", "wanted", "message"), REFUSED_NAMES.values(), ids=REFUSED_NAMES)
def test_names_that_are_refused(obj: Object, wanted: str, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        container_of(obj, wanted)
    assert message in refused.value.message


def test_pods_that_do_not_run() -> None:
    must_run(pod("a", phase="Running"), what="exec")
    must_run(pod("a", phase="Succeeded"), what="")
    with pytest.raises(BadRequest, match="completed pod; current phase is Failed"):
        must_run(pod("a", phase="Failed"), what="exec")
    with pytest.raises(BadRequest, match="pod pet does not have a host assigned"):
        must_run(pod("a", node=""), what="")


QUERIES = {
    "nothing": ({}, []),
    "flags": ({"follow": "true", "timestamps": "1", "previous": "false"}, [("follow", "true"), ("timestamps", "true")]),
    "numbers": ({"tailLines": "0", "limitBytes": "5"}, [("tailLines", "0"), ("limitBytes", "5")]),
    "seconds": ({"sinceSeconds": "60"}, [("since", "940.0")]),
    "time": ({"sinceTime": "1970-01-01T00:00:10Z"}, [("since", "10.0")]),
    "one stream": ({"stream": "Stderr"}, [("stream", "stderr")]),
    "all streams": ({"stream": "All"}, []),
}


@pytest.mark.parametrize(("query", "sent"), QUERIES.values(), ids=QUERIES)
def test_log_options(query: dict[str, str], sent: list[tuple[str, str]]) -> None:
    assert log_query(query, now=1000.0) == sent


BAD_QUERIES: dict[str, tuple[dict[str, str], type[ApiError]]] = {
    "negative tail": ({"tailLines": "-1"}, Invalid),
    "no bytes": ({"limitBytes": "0"}, Invalid),
    "no number": ({"tailLines": "x"}, BadRequest),
    "two beginnings": ({"sinceSeconds": "1", "sinceTime": "1970-01-01T00:00:10Z"}, Invalid),
    "no time": ({"sinceTime": "yesterday"}, BadRequest),
    "no stream": ({"stream": "stdout"}, Invalid),
}


@pytest.mark.parametrize(("query", "error"), BAD_QUERIES.values(), ids=BAD_QUERIES)
def test_log_options_that_are_refused(query: dict[str, str], error: type[ApiError]) -> None:
    with pytest.raises(error):
        log_query(query, now=1000.0)


def waiting(reason: str) -> list[Object]:
    return [{"name": "a", "state": {"waiting": {"reason": reason}}}]


REASONS = {
    "starting": (
        waiting("ContainerCreating"),
        False,
        'container "a" in pod "pet" is waiting to start: ContainerCreating',
    ),
    "no image": (waiting("ErrImagePull"), False, "is waiting to start: image can't be pulled"),
    "still none": (waiting("ImagePullBackOff"), False, "is waiting to start: trying and failing to pull image"),
    "no status": ([], False, 'container "a" in pod "pet" is not available'),
    "no previous": ([], True, 'previous terminated container "a" in pod "pet" not found'),
}


@pytest.mark.parametrize(("statuses", "previous", "message"), REASONS.values(), ids=REASONS)
def test_why_there_is_no_log(statuses: list[Object], previous: bool, message: str) -> None:
    assert message in no_log(pod("a", containerStatuses=statuses), "a", previous=previous).message
