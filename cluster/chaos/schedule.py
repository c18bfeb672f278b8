"""From an experiment and a seed to a timetable (pure): the same seed gives the same faults at the same offsets.

    Experiment + Inventory + Random(seed) + duration ──plan_steps──▶ Step(at 3.0 s, {fault: kill-pod, …}) …

The inventory is what the steady state holds: names, sorted, so that chance falls on the same ones again. Where a pod
runs is nobody's promise: `$node` of a selected pod stays in the step and is filled in when its time comes.

Chance comes from streams of its own per timed entry and for `random`, so that another entry changes no draw of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, islice
from random import Random
from typing import Any

from petset.cluster.api.objects import Object, labels_of, name_of
from petset.cluster.chaos.experiment import Action, ByChance, Experiment, ExperimentError, Selector, Timed, filled
from petset.cluster.chaos.faults import FAULTS, parse_endpoint

MAX_STEPS = 10_000
"""More than these, the gate would forget the first ones (register.py, MAX_KEPT)."""

LATE = {"node": "$node", "number": "$number"}
"""Words of a pod's node, kept as they are until the pod's place is known."""


@dataclass(frozen=True)
class Item:
    """A pod, a node or a claim that may be selected; `claim` is a pod's first."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    claim: str = ""


@dataclass(frozen=True)
class Inventory:
    namespace: str
    pods: tuple[Item, ...] = ()
    nodes: tuple[Item, ...] = ()
    claims: tuple[Item, ...] = ()
    sets: tuple[Item, ...] = ()

    @classmethod
    def of(cls, namespace: str, objects: list[Object]) -> Inventory:
        """What freshly listed pods, nodes, claims and sets hold."""
        items: dict[str, list[Item]] = {"Pod": [], "Node": [], "PersistentVolumeClaim": [], "StatefulSet": []}
        for obj in sorted(objects, key=name_of):
            if obj["kind"] in items:
                items[obj["kind"]].append(Item(name_of(obj), labels_of(obj), _first_claim(obj)))
        return cls(namespace, *(tuple(each) for each in items.values()))

    def of_kind(self, kind: str) -> tuple[Item, ...]:
        return {"pod": self.pods, "node": self.nodes, "claim": self.claims, "set": self.sets}[kind]


@dataclass(frozen=True)
class Step:
    """One fault or deed, `at_seconds` after the beginning. `pod` is whose node the words of LATE mean."""

    at_seconds: float
    mapping: Mapping[str, Any]
    pod: str = ""

    def at_its_place(self, node: str) -> dict[str, Any]:
        """The mapping when the selected pod turns out to be on that node."""
        return filled(self.mapping, {"node": node, "number": number_of(node)})

    @property
    def is_late(self) -> bool:
        return any(isinstance(value, str) and "$" in value for value in self.mapping.values())


def plan_steps(experiment: Experiment, inventory: Inventory, *, seed: int, duration_seconds: float) -> tuple[Step, ...]:
    """Every step, by time; never none. Raises ExperimentError, also when something names what is not there."""
    steps: list[Step] = []
    for number, timed in enumerate(experiment.method, 1):
        chance = Random(f"{seed} method {number}")
        steps += islice(_timed_steps(timed, inventory, chance, duration_seconds), MAX_STEPS + 1)
    if experiment.by_chance is not None:
        by_chance = _chance_steps(experiment.by_chance, inventory, Random(f"{seed} random"), duration_seconds)
        steps += islice(by_chance, MAX_STEPS + 1)
    if not steps:
        raise ExperimentError(f"{experiment.name}: nothing happens within {duration_seconds:g} s, nothing is proved")
    if len(steps) > MAX_STEPS:
        raise ExperimentError(f"{experiment.name}: more than {MAX_STEPS} steps; give it more time between them")
    for step in steps:
        _check_targets(step, inventory)
    return tuple(sorted(steps, key=lambda step: step.at_seconds))


def _timed_steps(timed: Timed, inventory: Inventory, chance: Random, duration_seconds: float) -> Iterator[Step]:
    for turn in count():
        at_seconds = timed.at_seconds + turn * (timed.every_seconds or 0.0)
        if at_seconds >= duration_seconds or (turn and timed.every_seconds is None):
            return
        yield _step(timed.action, inventory, chance, at_seconds=at_seconds, turn=turn)


def _chance_steps(by_chance: ByChance, inventory: Inventory, chance: Random, duration_seconds: float) -> Iterator[Step]:
    """Gaps are exponential, the first one on the condition that it ends in time: something happens in every run. What
    would be one too many, or hit what is hit already, is left out.
    """
    weights = [choice.weight for choice in by_chance.choices]
    active: list[tuple[float, Mapping[str, Any]]] = []
    at_seconds = 0.0
    for turn in count():
        gap_seconds = chance.expovariate(1 / by_chance.every_seconds)
        # The remainder of a time without memory is one without memory that is shorter than the divisor.
        at_seconds = round(at_seconds + (gap_seconds if turn else gap_seconds % duration_seconds), 3)
        if at_seconds >= duration_seconds:
            return
        [action] = chance.choices(by_chance.choices, weights)
        step = _step(action, inventory, chance, at_seconds=at_seconds, turn=turn)
        active = [(until, mapping) for until, mapping in active if until > at_seconds]
        lasts = _lasts(step.mapping)
        same = {**step.mapping, "for_seconds": None}
        if any(mapping == same for _, mapping in active) or (lasts and len(active) >= by_chance.at_most):
            continue
        if lasts:
            active.append((at_seconds + lasts, same))
        yield step


def _lasts(mapping: Mapping[str, Any]) -> float:
    """How long a fault acts; 0 for what is over at once, which deeds are too."""
    if "fault" not in mapping or FAULTS[mapping["fault"]].instant:
        return 0.0
    return float(mapping.get("for_seconds") or math.inf)


def _step(action: Action, inventory: Inventory, chance: Random, *, at_seconds: float, turn: int) -> Step:
    words = {"namespace": inventory.namespace}
    pod = ""
    if action.select is not None:
        item = _pick(action.select, inventory, chance, turn)
        words[action.select.kind] = item.name
        if action.select.kind == "pod":
            pod = item.name
            words |= {"claim": item.claim, **LATE}
        elif action.select.kind == "node":
            words["number"] = number_of(item.name)
    mapping = filled(action.mapping, words)
    kind = FAULTS.get(str(mapping.get("fault")))
    if kind is not None and "namespace" in {each.name for each in kind.target}:
        mapping.setdefault("namespace", inventory.namespace)
    for end in ("from", "to"):
        if str(mapping.get(end)).startswith("pod/") and mapping[end].count("/") == 1:
            mapping[end] = f"pod/{inventory.namespace}/{mapping[end].removeprefix('pod/')}"
    if action.for_seconds is not None:
        mapping["for_seconds"] = round(chance.uniform(*action.for_seconds), 3)
    return Step(at_seconds, mapping, pod)


def _pick(selector: Selector, inventory: Inventory, chance: Random, turn: int) -> Item:
    items = inventory.of_kind(selector.kind)
    if selector.name:
        items = tuple(item for item in items if item.name == selector.name)
    wanted = dict(selector.labels).items()
    items = tuple(item for item in items if wanted <= dict(item.labels).items())
    if not items:
        raise ExperimentError(f"no {selector.kind} is {selector.words}; {_there_are(inventory, selector.kind)}")
    return items[turn % len(items)] if selector.how == "each" else chance.choice(items)


def _check_targets(step: Step, inventory: Inventory) -> None:
    """What a fault names must be there, as far as it is known before its time."""
    for kind in ("pod", "node", "claim", "set"):
        value = step.mapping.get(kind)
        if isinstance(value, str) and "$" not in value and value not in {item.name for item in inventory.of_kind(kind)}:
            raise ExperimentError(f"there is no {kind} {value!r}; {_there_are(inventory, kind)}")
    for name in ("from", "to"):
        value = str(step.mapping.get(name, ""))
        if value.partition("/")[0] in ("node", "pod") and "$" not in value:
            endpoint = parse_endpoint(value)
            if endpoint.name not in {item.name for item in inventory.of_kind(endpoint.kind)}:
                raise ExperimentError(f"there is no {value}; {_there_are(inventory, endpoint.kind)}")
    component = str(step.mapping.get("component", ""))
    number = component.rpartition("-")[2]
    is_on_node = number.isdecimal() and not component.startswith("ray-node-")  # those, nobody knows but the gate
    if is_on_node and f"node-{number}" not in {item.name for item in inventory.nodes}:
        raise ExperimentError(f"there is no {component}; {_there_are(inventory, 'node')}")


def _there_are(inventory: Inventory, kind: str) -> str:
    names = [item.name for item in inventory.of_kind(kind)]
    return f"there are {', '.join(names)}" if names else f"there are no {kind}s"


def _first_claim(pod: Object) -> str:
    volumes = (pod.get("spec") or {}).get("volumes") or ()
    claims = [each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each]
    return str(claims[0]) if claims else ""


def number_of(node: str) -> str:
    """`2` of `node-2`."""
    return node.rpartition("-")[2]
