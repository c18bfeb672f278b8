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

from petset.cluster.api.objects import Object, name_of
from petset.cluster.chaos.experiment import Experiment, ExperimentError
from petset.cluster.chaos.faults import FAULTS
from petset.cluster.chaos.gate import GateClient, GateError
from petset.cluster.chaos.observations import WATCHED, Observations
from petset.cluster.chaos.oracles import Verdict, judge_all
from petset.cluster.chaos.performing import Performer
from petset.cluster.chaos.schedule import Inventory, Step, plan_steps
from petset.cluster.chaos.steady import LOOK_SECONDS, Steadiness
from petset.cluster.chaos.watching import Follower, processes_of, sample
from petset.cluster.chaos.workload import Load, Target, targets_of
from petset.cluster.clock import Clock
from petset.cluster.control.http_client import HttpClient
from petset.cluster.errors import ApiError, NotFound

NODES_READY_SECONDS = 15.0
"""How long a node may be on its way back before the cluster counts as broken."""
SIGHT_SECONDS = 10.0
"""How late the watches may be at the steady state."""
SWEEP_SECONDS = 15.0
"""How long the machines may take to clear away what they are about to."""
REMOVE_SECONDS = 60.0


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
    unhealed: str = ""
    """Why faults could not be healed at the end."""
    seen: Observations = field(init=False)
    _load: Load = field(init=False)
    _steady: Steadiness = field(init=False)
    _performer: Performer = field(init=False)

    def __post_init__(self) -> None:
        bound = self.plan.experiment.converge_seconds
        self.seen = Observations(self.plan.namespace, began_at=self.clock.now(), converge_seconds=bound)
        self._load = Load(self.client, self.clock, self.seen)
        self._steady = Steadiness(self.client, self.clock, self._load, self.plan.namespace)
        self._performer = Performer(self.client, self.gate, self.clock, self.seen)

    async def perform(self) -> Outcome:
        """Raises CannotRun, Skipped, ExperimentError; the cluster is healed and without the workload in any case."""
        await self._examine()
        problem: Exception | None = None
        async with asyncio.TaskGroup() as watching:
            tasks = await self._watch(watching)
            try:
                await self._rounds()
            except (CannotRun, Skipped, ExperimentError, GateError, ApiError) as error:
                problem = error  # raised below, as itself: out of the group it would come as a group
            finally:
                await self._leave()
                for task in tasks:
                    task.cancel()
        if isinstance(problem, GateError | ApiError):
            raise CannotRun(f"the run broke off while {self.phase}: {problem}") from problem
        if problem is not None:
            raise problem
        self.phase = "judging"
        return Outcome(self.plan, self.steps, self.seen, judge_all(self.seen))

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
            await self.gate.processes()  # an oracle that cannot see the machines would prove nothing
            missing = await self._steady.nodes_within(NODES_READY_SECONDS)
            nodes = (await self.client.list("Node")).items
        except (GateError, ApiError) as error:
            raise CannotRun(f"the cluster is not steady, nothing was injected: {error}") from error
        if missing:
            raise CannotRun(f"the cluster is not steady, nothing was injected: {'; '.join(missing)}")
        if len(nodes) < needs.nodes:
            raise Skipped(f"it needs {needs.nodes} nodes, this cluster has {len(nodes)}")

    async def _watch(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        followers = [Follower(kind, self.client, self.clock, self.seen) for kind in WATCHED]
        running = [tasks.create_task(each.run(), name=f"follow {each.kind}") for each in followers]
        running.append(tasks.create_task(sample(self.gate.processes, self.clock, self.seen), name="sample"))
        for follower in followers:
            await follower.synced.wait()
        return running

    async def _rounds(self) -> None:
        """From the workload's creation to what was read back."""
        self.phase = "applying the workload"
        await self._apply()
        self.phase = "waiting for the steady state"
        if missing := await self._steady.within(self.plan.experiment.steady_seconds):
            raise CannotRun(f"the workload is not steady, nothing was injected: {'; '.join(missing)}")
        objects = await self._steady.objects()
        await self._expect_sight(objects)
        inventory = Inventory.of(self.plan.namespace, objects + (await self.client.list("Node")).items)
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
        self.seen.names = self._steady.names
        with suppress(ApiError):  # no answer is what convergence was waiting for, and did not get
            self.seen.final = await self._steady.objects()
        self.phase = "reading back"
        await self._read_back()
        self.seen.leftovers = await self._swept()

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
        with suppress(ApiError):  # what cannot be read is lost, says the oracle
            for name, replicas in most_replicas(self.seen).items():
                await self.client.patch("StatefulSet", name, self.plan.namespace, body={"spec": {"replicas": replicas}})
            await self._steady.within(self.seen.converge_seconds)
            self.seen.journals = await self._load.read(targets_of(await self._steady.objects()))

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
        """The steps in their time, under load; the load ends when the time is over."""
        wanted, begun_at = self.plan.experiment.load, self.clock.now()
        self.seen.began_at = begun_at
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
                for step in self.steps:
                    await asyncio.sleep(max(0.0, begun_at + step.at_seconds - self.clock.now()))
                    deeds.create_task(self._performer.do(step), name=f"step at {step.at_seconds}")
                await asyncio.sleep(max(0.0, begun_at + self.plan.duration_seconds - self.clock.now()))
            for task in load:
                task.cancel()
        faults = [each for each in self.seen.injected if not each.is_deed]
        refused = [each for each in faults if each.error]
        if faults and len(refused) == len(faults):
            raise Skipped(f"no fault could be injected: {refused[0].words}: {refused[0].error}")

    # The end

    async def _leave(self) -> None:
        """Heal, take the workload away, and look at what is left; also when the run was broken off."""
        self.seen.removed_at = self.clock.now()
        try:
            await self.gate.heal_all()
        except GateError as error:
            self.unhealed = str(error)
            self.seen.leftovers.append(f"faults that were not healed: {error}")
        with suppress(ApiError):
            await self._performer.uncordon()
        deadline = self.clock.now() + REMOVE_SECONDS
        while self.clock.now() < deadline:
            try:
                await self.client.delete("Namespace", self.plan.namespace)
            except NotFound:
                break
            except ApiError:
                pass  # the API server may be on its way back: asked again
            await asyncio.sleep(LOOK_SECONDS)
        else:
            self.seen.leftovers.append(f"namespace {self.plan.namespace} was not removed in {REMOVE_SECONDS:g} s")
        if self.seen.healed_at:
            self.seen.leftovers += [
                each for each in await self._swept(is_removed=True) if each not in self.seen.leftovers
            ]

    async def _swept(self, *, is_removed: bool = False) -> list[str]:
        """What is left over on the machines once they had time to clear it away."""
        deadline = self.clock.now() + SWEEP_SECONDS
        while True:
            left = await self._leftovers(is_removed=is_removed)
            if not left or self.clock.now() > deadline:
                return left
            await asyncio.sleep(LOOK_SECONDS)

    async def _leftovers(self, *, is_removed: bool) -> list[str]:
        try:
            found = await self.gate.leftovers()
            rows = await self.gate.processes() if is_removed else []
        except GateError as error:
            return [f"the machines do not say what is left: {error}"]
        lines = [f"{what}: {thing}" for what, things in found.items() for thing in things]
        return lines + [f"process {each.pid} of {each.identity}" for each in processes_of(rows, self.plan.namespace)]


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
