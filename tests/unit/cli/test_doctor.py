"""What `petset doctor` makes of the kernel's answers."""

from __future__ import annotations

import pytest

from petset.cluster.cli.doctor import findings, verdict
from petset.cluster.network.kernel import Feature, Kernel

GOOD = Feature("network namespaces", "stacks", needed=True)
REFUSED = Feature("mount namespaces", "volumes", needed=True, refusal="Operation not permitted")
UNTRIED = Feature("PID namespaces", "trees", needed=True, refusal="not tried")
MISSING_EXTRA = Feature("netem", "delays", needed=False, refusal="built without it")


@pytest.mark.parametrize(
    ("features", "refusal", "network"),
    [
        pytest.param((GOOD,), "", "namespaces", id="everything is allowed"),
        pytest.param((GOOD, MISSING_EXTRA), "", "namespaces", id="an extra may be missing"),
        pytest.param(
            (GOOD, REFUSED, UNTRIED),
            "mount namespaces: Operation not permitted",
            "loopback",
            id="the first refusal counts",
        ),
    ],
)
def test_the_network_that_auto_takes(features: tuple[Feature, ...], refusal: str, network: str) -> None:
    kernel = Kernel(features)
    assert kernel.refusal == refusal
    assert verdict(kernel).startswith(f"--network auto: {network} (")


def test_every_finding_has_its_line_and_reason() -> None:
    table = findings(Kernel((GOOD, REFUSED)))
    assert [list(column.cells) for column in table.columns] == [
        ["network namespaces", "mount namespaces"],
        ["yes", "no: Operation not permitted"],
        ["stacks", "volumes"],
    ]
