"""One run of an experiment, from a steady cluster to verdicts; whatever ends it, it heals first.

    examine ─▶ workload ─▶ steady ─▶ load + steps ─▶ heal all ─▶ converge ─▶ read back ─▶ remove ─▶ judge
       │          watches and samples from here on …                                        │
       └─ broken, or not for this cluster: nothing is injected          always: heal, remove ┘

A cluster that is broken before, or an experiment that names what is not there, is a CannotRun; one that needs what this
cluster lacks is Skipped. A fault that the gate refuses is kept with its reason and hurts no verdict; if every one was
refused, the run counts as skipped.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from petset.cluster.api.objects import Object, name_of
from petset.cluster.cancellation import to_the_end
from petset.cluster.chaos.clearing import Clearing
from petset.cluster.chaos.deeds import persistently
from petset.cluster.chaos.experiment import Experiment, ExperimentError
from petset.cluster.chaos.faults import FAULTS
from petset.cluster.chaos.gate import GateClient, GateError
from petset.cluster.chaos.observations import WATCHED, Injected, Observations
from petset.cluster.chaos.oracles import Verdict, judge_all
from petset.cluster.chaos.performing import DEED_SECONDS, Performer
from petset.cluster.chaos.schedule import Inventory, Step, plan_steps
from petset.cluster.chaos.steady import LOOK_SECONDS, Steadiness
from petset.cluster.chaos.watching import Follower, sample
from petset.cluster.chaos.workload import Load, Target, targets_of
from petset.cluster.clock import Clock
from petset.cluster.control.http_client import HttpClient
from petset.cluster.errors import ApiError

NODES_READY_SECONDS = 15.0
"""How long a node may be on its way back before the cluster counts as broken."""
SIGHT_SECONDS = 10.0
"""How late the watches may be at the steady state."""


class CannotRun(Exception):
    """The experiment was not begun, or could not go on; the message is one line for the user."""


class Skipped(Exception):
    """This cluster lacks what the experiment needs; the message says what."""


@dataclass(frozen=True)
class Plan:
    """What to run: the workload's objects, the seed, how long, and on what kind of cluster.

    `time_scale` is how much shorter the cluster's long times are (`petset up --time-scale`).
    """

    experiment: Experiment
    objects: tuple[Object, ...]
    seed: int
    duration_seconds: float
    network: str
    namespace: str
    time_scale: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """A run that came to its end."""

    plan: Plan
    steps: tuple[Step, ...]
    seen: Observations
    verdicts: tuple[Verdict, ...]

    @property
    def held(self) -> bool:
        return all(verdict.held for verdict in self.verdicts)


@dataclass
class Run:
    """`perform` does it once; `phase`, `seen` and `steps` may be looked at meanwhile."""

    plan: Plan
    client: HttpClient
    gate: GateClient
    clock: Clock
    phase: str = "looking at the cluster"
    steps: tuple[Step, ...] = ()
    seen: Observations = field(init=False)
    _load: Load = field(init=False)
    _steady: Steadiness = field(init=False)
    _performer: Performer = field(init=False)
    _clearing: Clearing = field(init=False)

    def __post_init__(self) -> None:
        bound = self.plan.experiment.converge_seconds
        self.seen = Observations(self.plan.namespace, began_at=self.clock.now(), converge_seconds=bound)
        self._load = Load(self.client, self.clock, self.seen)
        self._steady = Steadiness(self.client, self.clock, self._load, self.plan.namespace)
        self._performer = Performer(self.client, self.gate, self.clock, self.seen)
        self._clearing = Clearing(self.client, self.gate, self.clock, self.seen, self._performer)

    async def perform(self) -> Outcome:
        """Raises CannotRun, Skipped, ExperimentError; the cluster is healed and without the workload in any case.

        Who interrupts waits for that; `remains` says what could not be taken back.
        """
        await self._examine()
        problem: Exception | None = None
        async with asyncio.TaskGroup() as watching:
            followers = [Follower(kind, self.client, self.clock, self.seen) for kind in WATCHED]
            tasks = [watching.create_task(each.run(), name=f"follow {each.kind}") for each in followers]
            tasks.append(watching.create_task(sample(self.gate.processes, self.clock, self.seen), name="sample"))
            try:
                await self._rounds(followers)
            except (CannotRun, Skipped, ExperimentError) as error:
                problem = error  # raised below, as itself: out of the group it would come as a group
            except (GateError, ApiError) as error:
                problem = CannotRun(f"the run broke off while {self.phase}: {error}")
                problem.__cause__ = error
            finally:
                self.phase = "taking everything back"
                clearing = asyncio.create_task(self._clearing.leave(), name="take everything back")
                await to_the_end(clearing.done, lambda: asyncio.shield(clearing))
                for task in tasks:
                    task.cancel()
        if problem is not None:
            raise problem
        self.phase = "judging"
        return Outcome(self.plan, self.steps, self.seen, judge_all(self.seen))

    @property
    def remains(self) -> list[str]:
        """What may still be there of the run, each with what takes it back; empty when all is taken back."""
        if self.phase != "taking everything back" or self._clearing.is_over:
            return self._clearing.problems
        name = self.plan.namespace
        return [
            "faults may still act; `petset chaos heal --all` heals them",
            f"namespace {name} may still be there; `kubectl delete namespace {name}` removes it",
        ]

    async def _examine(self) -> None:
        """Nothing is touched before the cluster is known to be whole and fit."""
        needs = self.plan.experiment.needs
        network = needs.network or ("namespaces" if _needs_namespaces(self.plan.experiment) else "")
        if network not in ("", self.plan.network):
            raise Skipped(f"it needs a cluster on the network `{network}`, this one is on `{self.plan.network}`")
        try:
            active = [each["id"] for each in await self.gate.faults() if each["state"] == "active"]
            if active:
                raise CannotRun(f"faults are active: {', '.join(active)}; `petset chaos heal --all` heals them")
            rows = await self.gate.processes()  # an oracle that cannot see the machines would prove nothing
            await self._clearing.look()
            missing = await self._steady.nodes_within(NODES_READY_SECONDS)
            nodes = (await self.client.list("Node")).items
        except (GateError, ApiError) as error:
            raise CannotRun(f"the cluster is not steady, nothing was injected: {error}") from error
        if missing:
            raise CannotRun(f"the cluster is not steady, nothing was injected: {'; '.join(missing)}")
        if len(nodes) < needs.nodes:
            raise Skipped(f"it needs {needs.nodes} nodes, this cluster has {len(nodes)}")
        ray_nodes = 1 + sum(str(row.get("component")).startswith("ray-node-") for row in rows)
        if ray_nodes < needs.ray_nodes:
            raise Skipped(f"it needs {needs.ray_nodes} Ray nodes (--ray-nodes), this cluster has {ray_nodes}")

    async def _rounds(self, followers: list[Follower]) -> None:
        """From the first look to what was read back."""
        await self._begin_to_see(followers)
        self.phase = "applying the workload"
        await self._apply()
        self.phase = "waiting for the steady state"
        if missing := await self._steady.within(self.plan.experiment.steady_seconds):
            raise CannotRun(f"the workload is not steady, nothing was injected: {'; '.join(missing)}")
        objects = await self._steady.objects()
        await self._expect_sight(objects)
        nodes = (await self.client.list("Node")).items
        self._performer.cordoned_before = frozenset(
            name_of(node) for node in nodes if node["spec"].get("unschedulable")
        )
        inventory = Inventory.of(self.plan.namespace, objects + nodes)
        self.steps = plan_steps(
            self.plan.experiment, inventory, seed=self.plan.seed, duration_seconds=self.plan.duration_seconds
        )
        targets = targets_of(objects)
        self.phase = "injecting"
        await self._inject(targets)
        self.phase = "healing"
        await self._performer.heal()
        self.seen.healed_at = self.clock.now()
        self.phase = "converging"
        missing = await self._steady.within(self.seen.converge_seconds)
        self.seen.converged_at = None if missing else self.clock.now()
        self.seen.unsettled = tuple(missing)
        self.seen.final, self.seen.names = self._steady.seen, self._steady.names
        self.phase = "reading back"
        await self._read_back()
        self.seen.leftovers = await self._clearing.swept()

    async def _begin_to_see(self, followers: list[Follower]) -> None:
        """Every watch has its first list."""
        try:
            async with asyncio.timeout(SIGHT_SECONDS):
                for follower in followers:
                    await follower.synced.wait()
        except TimeoutError as error:
            raise CannotRun("the API server does not list what there is, nothing was injected") from error

    async def _expect_sight(self, objects: list[Object]) -> None:
        """Oracles that see nothing would find nothing."""
        deadline = self.clock.now() + SIGHT_SECONDS
        pods = [obj for obj in objects if obj["kind"] == "Pod"]
        while unseen := [name_of(pod) for pod in pods if not self.seen.shows(pod)]:
            if self.clock.now() > deadline:
                raise CannotRun(f"the watches do not show {', '.join(unseen)}, nothing was injected")
            await asyncio.sleep(LOOK_SECONDS)

    async def _read_back(self) -> None:
        """Every journal, also those of identities that were scaled away: their disks wait for them."""
        now = {name_of(obj): obj["spec"].get("replicas", 1) for obj in self.seen.final if obj["kind"] == "StatefulSet"}
        fewer = {name: most for name, most in most_replicas(self.seen).items() if now.get(name, most) < most}
        for name, replicas in fewer.items():
            body = {"spec": {"replicas": replicas}}
            patch = partial(self.client.patch, "StatefulSet", name, self.plan.namespace, body=body)
            with suppress(ApiError):  # what cannot be read is lost, says the oracle
                await persistently(patch, DEED_SECONDS)
        if fewer:
            await self._steady.within(self.seen.converge_seconds)
        self.seen.journals = await self._load.read(targets_of(self._steady.seen))

    # The workload

    async def _apply(self) -> None:
        name = self.plan.namespace
        try:
            await self.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            for obj in self.plan.objects:
                await self.client.create({**obj, "metadata": {**obj["metadata"], "namespace": name}})
        except ApiError as error:
            raise CannotRun(f"the workload was refused, nothing was injected: {error}") from error

    # Faults and load

    async def _inject(self, targets: list[Target]) -> None:
        """The steps in their time, under load, which ends with the last of them, when the time is over."""
        wanted = self.plan.experiment.load
        self.seen.began_at = self.clock.now()
        async with asyncio.TaskGroup() as tasks:
            load = [
                tasks.create_task(self._load.probe(target, wanted.probes_per_second), name=f"probe {target.name}")
                for target in targets
                if wanted.probes_per_second
            ] + [
                tasks.create_task(self._load.write(target, wanted.writes_per_second), name=f"write to {target.name}")
                for target in targets
                if wanted.writes_per_second and target.is_journal
            ]
            async with asyncio.TaskGroup() as deeds:
                await self._take_steps(deeds)
            for task in load:
                task.cancel()
        if self._performer.lost:
            raise CannotRun(f"the run broke off while {self.phase}: {self._performer.lost}")
        self._expect_deeds()

    async def _take_steps(self, deeds: asyncio.TaskGroup) -> None:
        """Begin each in its time, until the time is over or the cluster is gone."""
        begun_at = self.seen.began_at
        for step in self.steps:
            await asyncio.sleep(max(0.0, begun_at + step.at_seconds - self.clock.now()))
            if self._performer.lost:
                return
            deeds.create_task(self._performer.do(step), name=f"step at {step.at_seconds}")
        await asyncio.sleep(max(0.0, begun_at + self.plan.duration_seconds - self.clock.now()))

    def _expect_deeds(self) -> None:
        """A run in which nothing befell the cluster, or none of the faults, proves nothing."""
        for each, what in (
            (self.seen.injected, "nothing could be done"),
            (self._faults(), "no fault could be injected"),
        ):
            if each and all(step.error for step in each):
                raise Skipped(f"{what}: {each[0].words}: {each[0].error}")

    def _faults(self) -> list[Injected]:
        return [each for each in self.seen.injected if not each.is_deed]


def _needs_namespaces(experiment: Experiment) -> bool:
    """Whether every fault needs a network that can be cut: then there is nothing to do without."""
    actions = [timed.action for timed in experiment.method]
    actions += experiment.by_chance.choices if experiment.by_chance else ()
    faults = [str(action.mapping["fault"]) for action in actions if "fault" in action.mapping]
    return bool(faults) and all(FAULTS[kind].needs == "namespaces" for kind in faults)


def most_replicas(seen: Observations) -> dict[str, int]:
    """By set, the most replicas that it was ever told to have."""
    most: dict[str, int] = {}
    for change in seen.of_kind("StatefulSet"):
        name = name_of(change.object)
        most[name] = max(most.get(name, 0), change.object["spec"].get("replicas", 1))
    return most
