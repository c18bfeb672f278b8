"""DNS settings that cannot work are refused before anything starts, with what to give instead."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.settings import ClusterSettings, SettingsError
from petset.dns.batches import answer_in_batches, configured_loop, has_batches
from petset.dns.datagrams import Loop, answer_one_by_one


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("dns_ttl_seconds", -1, "time to live -1: give 0 to 3600"),
        ("dns_negative_ttl_seconds", 3601, "time to live 3601: give 0 to 3600"),
        ("dns_cache_seconds", 9999, "time to live 9999: give 0 to 3600"),
        ("dns_loop", "fast", "--dns-loop fast: it is one of portable, batched, auto"),
        ("dns_upstreams", "192.0.2.1,example.com", "DNS upstream 'example.com': give an address"),
        ("dns_upstreams", "192.0.2.1:x", "DNS upstream '192.0.2.1:x': give an address"),
    ],
)
def test_what_cannot_work_is_refused(field: str, value: Any, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        ClusterSettings("one", "/home", **{field: value})


@pytest.mark.parametrize("text", ["", "host", "192.0.2.1", "192.0.2.1:5353,host,fd00::1"])
def test_upstreams_that_can_be_asked(text: str) -> None:
    assert ClusterSettings("one", "/home", dns_upstreams=text).dns_upstreams == text


@pytest.mark.parametrize(
    ("name", "loop"),
    [
        ("portable", answer_one_by_one),
        ("batched", answer_in_batches),
        ("auto", answer_in_batches if has_batches() else answer_one_by_one),
    ],
)
def test_a_loop_is_chosen_by_its_name(name: str, loop: Loop) -> None:
    assert configured_loop(name) is loop


def test_there_is_no_other_loop() -> None:
    with pytest.raises(ValueError, match="no such DNS loop"):
        configured_loop("fast")
