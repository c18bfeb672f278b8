"""`petset doctor`: what this machine's kernel allows a cluster, and which network `--network auto` would take."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from petset.cluster.network.kernel import Kernel, probe

LOOPBACK_MEANS = "a pod is an address of 127/8; it sees the host's processes and paths, and cannot be cut off"


def examine() -> int:
    """Print the findings; the exit status: 1 when there can be no network of namespaces."""
    kernel = probe()
    Console(soft_wrap=True).print(findings(kernel), verdict(kernel), sep="\n")
    return 1 if kernel.refusal else 0


def findings(kernel: Kernel) -> Table:
    table = Table("KERNEL", "ALLOWED", "FOR", box=None, pad_edge=False)
    for feature in kernel.features:
        table.add_row(feature.name, "yes" if feature.allowed else f"no: {feature.refusal}", feature.purpose)
    return table


def verdict(kernel: Kernel) -> str:
    """What a cluster gets here, in one line."""
    if kernel.refusal:
        return f"--network auto: loopback ({LOOPBACK_MEANS})"
    return "--network auto: namespaces (every node and pod has a network, processes and files of its own)"
