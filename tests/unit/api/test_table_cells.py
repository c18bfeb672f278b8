"""The texts of table cells: durations, selectors, access modes, endpoint lists."""

from __future__ import annotations

from typing import Any

import pytest

from petset.cluster.api.table_cells import access_modes_text, endpoints_text, human_duration, selector_text, since
from petset.cluster.api.times import format_micro_time, format_time

NOW = 1_767_225_600.0
SELECTOR = {"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": [{"key": "c", "operator": "Exists"}]}


def test_human_duration_invents_no_digits() -> None:
    minute, hour, day, year = 60, 3600, 86_400, 365 * 86_400
    table = {
        -2.5: "<invalid>", -2: "<invalid>", -1.9: "0s", -0.5: "0s", 0: "0s", 1.9: "1s", 119.9: "119s",
        2 * minute: "2m", 2 * minute + 1: "2m1s", 10 * minute - 1: "9m59s", 10 * minute: "10m", 3 * hour - 1: "179m",
        3 * hour: "3h", 3 * hour + 59: "3h", 3 * hour + minute: "3h1m", 8 * hour - 1: "7h59m", 8 * hour: "8h",
        2 * day - 1: "47h", 2 * day: "2d", 2 * day + hour: "2d1h", 8 * day - 1: "7d23h", 8 * day: "8d",
        2 * year - 1: "729d", 2 * year: "2y", 2 * year + day: "2y1d", 8 * year - 1: "7y364d", 8 * year: "8y",
    }  # fmt: skip
    assert {seconds: human_duration(seconds) for seconds in table} == table


@pytest.mark.parametrize(
    ("timestamp", "text"),
    [
        pytest.param(format_time(NOW - 90), "90s", id="time"),
        pytest.param(format_micro_time(NOW - 0.25), "0s", id="micro time"),
        pytest.param("2025-12-31T23:00:00+00:00", "60m", id="offset"),
        pytest.param(None, "<unknown>", id="absent"),
        pytest.param("yesterday", "<unknown>", id="no time"),
        pytest.param(5, "<unknown>", id="no text"),
    ],
)
def test_since(timestamp: Any, text: str) -> None:
    assert since(timestamp, NOW) == text


def test_access_modes_in_a_fixed_order() -> None:
    modes = ["ReadWriteOncePod", "ReadWriteMany", "ReadWriteOnce", "ReadOnlyMany", "ReadWriteOnce"]
    assert access_modes_text(modes) == "RWO,ROX,RWX,RWOP"


@pytest.mark.parametrize(
    ("selector", "text"),
    [(None, "<none>"), ({}, "<none>"), (SELECTOR, "a=1,b=2,c"), ({"matchExpressions": [{"key": "a"}]}, "<error>")],
)
def test_selector_text(selector: Any, text: str) -> None:
    assert selector_text(selector) == text


def addresses(count: int) -> list[dict[str, str]]:
    return [{"ip": f"10.0.0.{number}"} for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("subsets", "text"),
    [
        pytest.param([], "<none>", id="none"),
        pytest.param([{"addresses": addresses(2)}], "10.0.0.1,10.0.0.2", id="without ports"),
        pytest.param([{"addresses": addresses(1), "ports": [{"port": 80}, {"port": 81}]}],
                     "10.0.0.1:80,10.0.0.1:81", id="with ports"),
        pytest.param([{"addresses": addresses(5), "ports": [{"port": 80}]}],
                     "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...", id="more than three"),
        pytest.param([{"notReadyAddresses": addresses(1), "ports": [{"port": 80}]}], "", id="none ready"),
        pytest.param([{"addresses": [{"ip": "fd00::1"}], "ports": [{"port": 80}]}], "[fd00::1]:80", id="IPv6"),
    ],
)  # fmt: skip
def test_subsets(subsets: list[Any], text: str) -> None:
    assert endpoints_text(subsets) == text
