"""Chaos: faults on a running cluster, and experiments that prove what held.

From Python, a running cluster is broken and healed through its gate:

    import asyncio, os
    from petset.cluster.chaos.gate import GateClient
    from petset.cluster.settings import ClusterSettings, petset_home

    async def main() -> None:
        settings = ClusterSettings("petset", str(petset_home(os.environ))).folder.read_settings()
        async with GateClient(settings) as gate:
            entry = await gate.inject({"fault": "cut", "from": "node/node-1", "to": "everything"})
            print(await gate.processes())
            await gate.heal(entry["id"])

The parts for faults:

    faults.py ─▶ gate.py ══ Unix socket ══▶ gate_server.py ─▶ register.py ─▶ injection.py ─▶ world.py ◀─ the supervisor
    what there is    the client                                who acts now    what each does    whom it is done to
"""
