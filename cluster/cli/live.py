"""The foreground view of `petset up`: nodes and pods as they are now, read from the API like any client does.

On a terminal the view is redrawn twice a second; elsewhere (a file, a pipe) it stays silent after the start.
"""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from petset.cluster.cli.launch import Launch
from petset.cluster.cli.reader import ApiReader, NoAnswer, Node, Pod
from petset.cluster.settings import ClusterSettings

REFRESH_SECONDS = 0.5
MAX_PODS = 40
"""A screenful; the rest is counted."""


def watch_cluster(console: Console, launch: Launch, settings: ClusterSettings) -> None:
    """Show the cluster until interrupted. Raises LaunchFailed or ClusterStopped when it ends by itself."""
    if not console.is_terminal:
        while True:
            launch.next_message(wait_seconds=3600.0)
    reader = ApiReader(settings)
    try:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while True:
                live.update(_picture(settings, reader), refresh=True)
                launch.next_message(wait_seconds=REFRESH_SECONDS)
    finally:
        reader.close()


def summary(settings: ClusterSettings) -> str:
    """How to reach a cluster that is up."""
    nodes = "1 node" if settings.node_count == 1 else f"{settings.node_count} nodes"
    scale = "" if settings.time_scale == 1 else f" (long times {settings.time_scale:g} times shorter)"
    return (
        f"cluster {settings.name}: {nodes} Ready at {settings.server}{scale};"
        f" export KUBECONFIG={settings.folder.kubeconfig}"
    )


def _picture(settings: ClusterSettings, reader: ApiReader) -> RenderableType:
    try:
        nodes, pods = reader.nodes(), reader.pods()
    except NoAnswer as error:
        return Text(f"the API server does not answer: {error}", style="yellow")
    ready = sum(node.ready for node in nodes)
    head = Text.assemble(
        (f"{settings.name} ", "bold"),
        (f"{ready}/{settings.node_count} nodes Ready", "green" if ready >= settings.node_count else "yellow"),
        f"  {settings.server}  DNS {settings.addresses.dns_address}:{settings.dns_port}  Ctrl-C stops it",
    )
    return Group(head, _node_table(nodes, pods), *([_pod_table(pods)] if pods else []))


def _node_table(nodes: list[Node], pods: list[Pod]) -> Table:
    table = Table("NODE", "STATUS", "PODS", box=None, pad_edge=False)
    for node in nodes:
        status = Text("Ready", "green") if node.ready else Text("NotReady", "red")
        table.add_row(node.name, status, str(sum(pod.node == node.name for pod in pods)))
    return table


def _pod_table(pods: list[Pod]) -> Table:
    table = Table("NAMESPACE", "POD", "STATUS", "READY", "NODE", "ADDRESS", box=None, pad_edge=False)
    for pod in pods[:MAX_PODS]:
        style = "green" if pod.ready else "yellow"
        ready = "yes" if pod.ready else "no"
        table.add_row(pod.namespace, pod.name, Text(pod.status, style), ready, pod.node, pod.address)
    if len(pods) > MAX_PODS:
        table.add_row("", f"… and {len(pods) - MAX_PODS} more")
    return table
