"""An experiment as data (pure): a YAML file becomes a checked `Experiment`, or one line that says what is wrong.

    name: pod-kill                      how it is called, also on the command line
    describes: …                        one line
    needs: {nodes: 2, network: namespaces}      else it is skipped, with the reason; also ray_nodes
    workload: journal.workload.yaml     applied in a namespace of its own, removed afterwards; beside this file
    duration_seconds: 30                how long faults come; `--duration` may change it
    steady_seconds: 60                  steady state within this: nodes Ready, sets at their spec, services agree
    converge_seconds: 60                …and again within this after the last heal
    load: {writes_per_second: 5, probes_per_second: 4}      per pod, and through the service; 0: none
    method:                             timed faults and deeds, of which each may come again and again
    - at_seconds: 3
      every_seconds: 8
      select: {pod: any}
      fault: {fault: kill-pod, pod: $pod}
      for_seconds: [2, 5]
    random:                             faults and deeds by chance: the seed decides when, what and whom
      every_seconds: 4
      at_most: 2                        active at a time
      choices:
      - {weight: 3, select: {node: any}, fault: {fault: stop, component: kubelet-$number}, for_seconds: [2, 6]}

A fault is what `petset chaos faults` lists, a deed what a user does (deeds.py). `select` names a pod, a node or a
claim: `any` (by chance), `each` (one after the other), a name, or labels. It gives the words

    $pod $claim $node $number     for a pod: its name, its first claim, its node and that node's number then
    $node $number                 for a node                       $claim     for a claim

`$namespace` is the workload's, and is filled in where a fault has a namespace and none is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from string import Template
from typing import Any, Literal

import yaml

from petset.cluster.chaos.deeds import parse_deed
from petset.cluster.chaos.errors import BadFault
from petset.cluster.chaos.faults import YAML_ERRORS, parse_fault

MAX_DURATION_SECONDS = 24 * 3600.0
SELECTABLE = ("pod", "node", "claim")
EXAMPLES = {"pod": "pod-0", "node": "node-1", "number": "1", "claim": "claim-0", "namespace": "default"}
"""What placeholders stand for while a file is checked without a cluster."""

_EXPERIMENT = (
    "name", "describes", "workload", "duration_seconds", "steady_seconds", "converge_seconds", "needs", "load",
    "method", "random",
)  # fmt: skip
_NEEDS = ("nodes", "ray_nodes", "network")
_LOAD = ("writes_per_second", "probes_per_second")
_ACTION = ("select", "fault", "deed", "for_seconds")
_TIMED = ("at_seconds", "every_seconds", *_ACTION)
_BY_CHANCE = ("every_seconds", "at_most", "choices")
_CHOICE = ("weight", *_ACTION)


class ExperimentError(Exception):
    """An experiment that cannot be run; the message is one line for the user."""


@dataclass(frozen=True)
class Selector:
    """Whom a step is about: `kind` is one of SELECTABLE, `how` is `any`, `each`, or empty for a `name` or `labels`."""

    kind: str
    how: Literal["any", "each", ""] = ""
    name: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def words(self) -> str:
        return self.how or self.name or ",".join(f"{key}={value}" for key, value in self.labels)


@dataclass(frozen=True)
class Action:
    """A fault or a deed with placeholders; exactly one of `fault` and `deed` is among its keys."""

    mapping: Mapping[str, Any]
    select: Selector | None = None
    for_seconds: tuple[float, float] | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Timed:
    action: Action
    at_seconds: float
    every_seconds: float | None = None


@dataclass(frozen=True)
class ByChance:
    """One of `choices`, by weight, each `every_seconds` on average; `at_most` of those that last at a time."""

    every_seconds: float
    at_most: int
    choices: tuple[Action, ...]


@dataclass(frozen=True)
class Load:
    writes_per_second: float = 5.0
    probes_per_second: float = 4.0


@dataclass(frozen=True)
class Needs:
    nodes: int = 1
    ray_nodes: int = 1
    network: str = ""


@dataclass(frozen=True)
class Experiment:
    name: str
    describes: str
    workload: str
    duration_seconds: float
    steady_seconds: float
    converge_seconds: float
    needs: Needs
    load: Load
    method: tuple[Timed, ...]
    by_chance: ByChance | None


def parse_experiment(text: str, where: str) -> Experiment:
    """`where` names the file in messages. Raises ExperimentError."""
    try:
        document = yaml.safe_load(text)
    except YAML_ERRORS as error:
        raise ExperimentError(f"{where} is no YAML: {' '.join(str(error).split())}") from error
    fields = _Fields(document, where, _EXPERIMENT)
    experiment = Experiment(
        name=fields.take("name", str),
        describes=fields.take("describes", str, ""),
        workload=fields.take("workload", str),
        duration_seconds=fields.seconds("duration_seconds"),
        steady_seconds=fields.seconds("steady_seconds", 60.0),
        converge_seconds=fields.seconds("converge_seconds"),
        needs=_needs(_Fields(fields.take("needs", dict, {}), f"{where}: needs", _NEEDS)),
        load=_load(_Fields(fields.take("load", dict, {}), f"{where}: load", _LOAD)),
        method=tuple(
            _timed(_Fields(each, f"{where}: method {number}", _TIMED))
            for number, each in enumerate(fields.take("method", list, []), 1)
        ),
        by_chance=_by_chance(fields.take("random", dict, None), f"{where}: random"),
    )
    if not experiment.method and experiment.by_chance is None:
        raise ExperimentError(f"{where}: it does nothing; give it a `method` or `random`")
    return experiment


class _Fields:
    """A mapping that is taken apart: what is unknown, missing or of the wrong type is an ExperimentError.

    What is unknown is told first: it may be a slip of the pen for what is missing then.
    """

    def __init__(self, value: object, where: str, known: Sequence[str]) -> None:
        if not isinstance(value, dict):
            raise ExperimentError(f"{where}: it is no mapping of names to values")
        for name in value:
            if name not in known:
                near = "".join(f" (is it {each}?)" for each in get_close_matches(str(name), known, n=1))
                raise ExperimentError(f"{where}: there is no field {name!r}{near}; there are {', '.join(known)}")
        self.where = where
        self._value = value

    def take(self, name: str, kind: type, *default: Any) -> Any:
        """The value of a field. A default makes it optional."""
        value = self._value.get(name)
        if value is None:
            if default:
                return default[0]
            raise ExperimentError(f"{self.where}: {name} is missing")
        is_line = not isinstance(value, str) or value.isprintable()  # it is shown on terminals, and in reports
        if not isinstance(value, kind) or value == "" or not is_line:
            raise ExperimentError(f"{self.where}: {name} is {value!r}; {_KIND_WORDS[kind]} is wanted")
        return value

    def number(self, name: str, *default: float | None, least: float, most: float) -> Any:
        value = self._value.get(name)
        if value is None and default:
            return default[0]
        if value is None:
            raise ExperimentError(f"{self.where}: {name} is missing")
        if not _is_number(value) or not least <= value <= most:
            raise ExperimentError(f"{self.where}: {name} is {value!r}; a number from {least:g} to {most:g} is wanted")
        return float(value)

    def whole(self, name: str, default: int, *, most: int) -> int:
        """A number from 1 to `most`."""
        value: float = self.number(name, default, least=1, most=most)
        if value != int(value):
            raise ExperimentError(f"{self.where}: {name} is {value:g}; a whole number is wanted")
        return int(value)

    def seconds(self, name: str, *default: float | None) -> Any:
        return self.number(name, *default, least=0.1, most=MAX_DURATION_SECONDS)

    def range_of_seconds(self, name: str) -> tuple[float, float] | None:
        """`5` or `[2, 10]`; None where it is not given."""
        value = self._value.get(name)
        if value is None:
            return None
        pair = value if isinstance(value, list) else [value, value]
        if len(pair) != 2 or not all(map(_is_number, pair)) or not 0 < pair[0] <= pair[1] <= MAX_DURATION_SECONDS:
            raise ExperimentError(f"{self.where}: {name} is {value!r}; seconds, or [least, most], are wanted")
        return float(pair[0]), float(pair[1])


_KIND_WORDS: Mapping[type, str] = {str: "a line of text", dict: "a mapping", list: "a list"}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _needs(fields: _Fields) -> Needs:
    needs = Needs(
        nodes=fields.whole("nodes", 1, most=1000),
        ray_nodes=fields.whole("ray_nodes", 1, most=1000),
        network=fields.take("network", str, ""),
    )
    if needs.network not in ("", "namespaces", "loopback"):
        raise ExperimentError(f"{fields.where}: network is {needs.network!r}; namespaces or loopback is wanted")
    return needs


def _load(fields: _Fields) -> Load:
    return Load(
        writes_per_second=fields.number("writes_per_second", Load.writes_per_second, least=0.0, most=200.0),
        probes_per_second=fields.number("probes_per_second", Load.probes_per_second, least=0.0, most=50.0),
    )


def _timed(fields: _Fields) -> Timed:
    at_seconds = fields.number("at_seconds", least=0.0, most=MAX_DURATION_SECONDS)
    every_seconds = fields.seconds("every_seconds", None)
    return Timed(_action(fields), at_seconds, every_seconds)


def _by_chance(value: object, where: str) -> ByChance | None:
    if value is None:
        return None
    fields = _Fields(value, where, _BY_CHANCE)
    every_seconds = fields.seconds("every_seconds")
    at_most = fields.whole("at_most", 1, most=100)
    choices = []
    for number, each in enumerate(fields.take("choices", list), 1):
        choice = _Fields(each, f"{fields.where}, choice {number}", _CHOICE)
        weight = choice.number("weight", 1.0, least=0.001, most=1_000_000.0)
        action = _action(choice)
        choices.append(Action(action.mapping, action.select, action.for_seconds, weight))
    if not choices:
        raise ExperimentError(f"{fields.where}: choices is empty")
    return ByChance(every_seconds, at_most, tuple(choices))


def _action(fields: _Fields) -> Action:
    select = fields.take("select", dict, None)
    fault, deed = fields.take("fault", dict, None), fields.take("deed", dict, None)
    for_seconds = fields.range_of_seconds("for_seconds")
    if (fault is None) == (deed is None):
        raise ExperimentError(f"{fields.where}: give it one of fault and deed")
    action = Action(
        fault if deed is None else deed, None if select is None else _selector(select, fields.where), for_seconds
    )
    _check(action, fields.where)
    return action


def _selector(value: dict[str, Any], where: str) -> Selector:
    if len(value) != 1 or next(iter(value)) not in SELECTABLE:
        raise ExperimentError(f"{where}: select is {value!r}; one of {', '.join(SELECTABLE)} is wanted")
    kind, wanted = next(iter(value.items()))
    if wanted in ("any", "each"):
        return Selector(kind, how=wanted)
    if isinstance(wanted, str) and wanted:
        return Selector(kind, name=wanted)
    if isinstance(wanted, dict) and wanted and all(isinstance(each, str) for each in (*wanted, *wanted.values())):
        return Selector(kind, labels=tuple(sorted(wanted.items())))
    raise ExperimentError(f"{where}: select {kind} is {wanted!r}; any, each, a name, or labels are wanted")


def _check(action: Action, where: str) -> None:
    """Find what is wrong with a fault or deed before there is a cluster, with examples for the placeholders."""
    given = {"": (), "claim": ("claim",), "pod": ("pod", "claim", "node", "number"), "node": ("node", "number")}
    names = (*given[action.select.kind if action.select else ""], "namespace")
    try:
        mapping = filled(action.mapping, {name: EXAMPLES[name] for name in names})
        if "deed" in mapping:
            parse_deed(mapping)
            if action.for_seconds is not None:
                raise ExperimentError(f"{where}: a deed has no for_seconds")
        else:
            fault = parse_fault(mapping)
            if fault.is_instant and action.for_seconds is not None:
                raise ExperimentError(f"{where}: {fault.kind} is over at once, it has no for_seconds")
    except BadFault as error:
        raise ExperimentError(f"{where}: {error}") from error
    except ValueError:
        raise ExperimentError(f"{where}: a `$` begins a word: ${', $'.join(names)}") from None
    except KeyError as error:
        name = error.args[0]
        raise ExperimentError(
            f"{where}: nothing is selected that gives ${name}; there are ${', $'.join(names)}"
        ) from None


def filled(mapping: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    """The mapping with its placeholders replaced. Raises KeyError for one without a word."""
    return {
        key: Template(value).substitute(words) if isinstance(value, str) else value for key, value in mapping.items()
    }
