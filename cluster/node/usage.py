"""What process trees use: one look at everything below a root, each process counted to the container above it.

    guard ─┬─ warm parent ─┬─ first process of a ─┬─ child     a: these two
           │               │                      └─ …
           │               └─ first process of b               b: this one       the machine: all of them

CPU time is that of the living plus what their ended children took (`cutime`): a first process is the subreaper of its
container, so nothing that ended is lost. Memory is PSS: forks of the warm parent share most of their pages, and each
bears its part. A process that may not be looked into (it changed its user) counts with its RSS; one that ends
meanwhile counts for nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import psutil

from petset.cluster.api.cri import MachineUsage, ProcessUsage, SandboxStatus

_NOTHING = ProcessUsage(0.0, 0)


def measure_machine(guard_pid: int, sandboxes: Iterable[SandboxStatus], *, taken_at: float) -> MachineUsage:
    """The machine below its guard (0: nothing runs), and its running containers. Blocks: see `measure_tree`."""
    everyone = (status for sandbox in sandboxes for status in sandbox.containers)
    running = {status.pid: status.id for status in everyone if status.state == "running"}
    machine, containers = measure_tree(guard_pid, running) if guard_pid else (_NOTHING, {})
    return MachineUsage(taken_at, machine, containers)


def measure_tree(root_pid: int, containers: Mapping[int, str]) -> tuple[ProcessUsage, dict[str, ProcessUsage]]:
    """(everything from `root_pid` down, what each container uses); `containers` maps first processes to ids.

    Takes half a millisecond per process.
    """
    try:
        root = psutil.Process(root_pid)
        everyone = [root, *root.children(recursive=True)]  # parents come before their children
    except psutil.NoSuchProcess:
        return _NOTHING, {}
    owners: dict[int, str] = {}
    used: defaultdict[str, list[ProcessUsage]] = defaultdict(list)
    for process in everyone:
        try:
            owner = containers.get(process.pid) or owners.get(process.ppid(), "")
            owners[process.pid] = owner
            used[owner].append(_usage_of(process))
        except psutil.NoSuchProcess:
            continue
    totals = {owner: _total(usages) for owner, usages in used.items()}
    machine = _total(list(totals.values()))
    totals.pop("", None)
    return machine, totals


def _usage_of(process: psutil.Process) -> ProcessUsage:
    times = process.cpu_times()
    try:
        memory_bytes = process.memory_full_info().pss
    except psutil.AccessDenied:
        memory_bytes = process.memory_info().rss
    return ProcessUsage(times.user + times.system + times.children_user + times.children_system, memory_bytes)


def _total(usages: list[ProcessUsage]) -> ProcessUsage:
    return ProcessUsage(sum(each.cpu_seconds for each in usages), sum(each.memory_bytes for each in usages))
