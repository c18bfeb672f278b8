"""`/healthz`, `/livez` and `/readyz`: the words of kube-apiserver."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.apiserver.health import health
from petset.cluster.errors import NotFound

VERBOSE = "[+]ping ok\n[+]log ok\n[+]etcd ok\n"
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "plain": ({"endpoint": "readyz"}, "ok"),
    "one check": ({"endpoint": "livez", "check": "etcd"}, "ok"),
    "verbose": ({"endpoint": "livez", "is_verbose": True}, VERBOSE + "livez check passed\n"),
    "verbose readyz": (
        {"endpoint": "readyz", "is_verbose": True},
        VERBOSE + "[+]etcd-readiness ok\n[+]shutdown ok\nreadyz check passed\n",
    ),
    "excluded": (
        {"endpoint": "healthz", "is_verbose": True, "excluded": ["log"]},
        "[+]ping ok\n[+]log excluded: ok\n[+]etcd ok\nhealthz check passed\n",
    ),
    "excluded, but not there": (
        {"endpoint": "healthz", "is_verbose": True, "excluded": ["y", "x"]},
        f'{VERBOSE}warn: some health checks cannot be excluded: no matches for "x", "y"\nhealthz check passed\n',
    ),
}


@pytest.mark.parametrize(("question", "expected"), CASES.values(), ids=CASES)
def test_answers(question: dict[str, Any], expected: str) -> None:
    assert health(**question) == expected


def test_a_check_that_there_is_not() -> None:
    with pytest.raises(NotFound):
        health("livez", "shutdown")
