"""Faults as data (pure): which kinds there are, what each needs, and how a mapping becomes a checked `Fault`.

    {"fault": "freeze-pod", "pod": "kubia-1", "for_seconds": 20}  ──parse_fault──▶  Fault(kind, target, options)
                                                              ◀──as_json()────

`FAULTS` is the one table: the command line, the gate, experiments and this module's own checks all read it. A mapping
that does not fit is refused with one line that names the field and what it may be. What exists in a cluster (is there
such a pod?) is not asked here, but where the fault is injected (injection.py).
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from petset.cluster.chaos.errors import BadFault

Needs = Literal["", "namespaces"]

CONTROL_PLANE = ("api-server", "controller", "dns")
EVERYTHING = "everything"
DEFAULT_NAMESPACE = "default"
MAX_SECONDS = 86_400.0
YAML_ERRORS = (yaml.YAMLError, ValueError, RecursionError)
"""How the loader says that a text is none: also by a date in a 13th month, or hundreds of brackets."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
COMPONENT = re.compile(r"api-server|controller|dns|(node|kubelet|service-proxy|ray-node)-[1-9][0-9]{0,2}")
_NODE = re.compile(r"node-[1-9][0-9]{0,2}")
_ENDPOINTS = "node/node-1 (or another), pod/NAME, pod/NAMESPACE/NAME, api-server, dns, controller or everything"


def is_name(value: object) -> bool:
    """Whether it can be the name of an object."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _name(value: object) -> str:
    if not isinstance(value, str) or not is_name(value):
        raise BadFault("a name of lower-case letters, digits, dashes and dots")
    return value


def _node(value: object) -> str:
    if not isinstance(value, str) or not _NODE.fullmatch(value):
        raise BadFault("a node: node-1, node-2, …")
    return value


def _component(value: object) -> str:
    if not isinstance(value, str) or not COMPONENT.fullmatch(value):
        raise BadFault("api-server, controller, dns, node-N, kubelet-N, service-proxy-N or ray-node-N")
    return value


def _signal(value: object) -> str:
    """`KILL`, `SIGKILL`, 9 and `9` are one."""
    text = str(value).upper()
    try:
        found = signal.Signals(int(text)) if text.isdecimal() else signal.Signals["SIG" + text.removeprefix("SIG")]
    except (KeyError, ValueError):
        raise BadFault("a signal: KILL, TERM, HUP, … or its number") from None
    if found is signal.SIGSTOP:
        raise BadFault("a signal that ends it or that it hears of; freeze-pod stops it, and can be healed")
    return found.name.removeprefix("SIG")


def _seconds(value: object) -> float:
    return _number(value, least=0.0, most=MAX_SECONDS, what="seconds")


def _skew(value: object) -> float:
    return _number(value, least=-MAX_SECONDS * 365, most=MAX_SECONDS * 365, what="seconds, negative for the past")


def _milliseconds(value: object) -> float:
    return _number(value, least=0.0, most=60_000.0, what="milliseconds")


def _rate(value: object) -> float:
    return _number(value, least=1.0, most=10_000_000.0, what="kilobits per second")


def _share(value: object) -> float:
    share = _number(value, least=0.0, most=1.0, what="share")
    if share == 0.0:
        raise BadFault("a share above 0, 1 at the most")
    return share


def _number(value: object, *, least: float, most: float, what: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise BadFault(f"{what}: a number from {least:g} to {most:g}")
    return float(value)


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise BadFault("true or false")
    return value


def _endpoint(value: object) -> str:
    parse_endpoint(value)
    return str(value)


@dataclass(frozen=True)
class Field:
    """One key of a fault. `check` answers the value as it is kept, or raises BadFault with what would be right.

    `words`: its values are names; a command line's text is taken as it stands.
    """

    name: str
    check: Callable[[object], Any]
    required: bool = True
    default: Any = None
    words: bool = True

    @property
    def usage(self) -> str:
        shown = f"{self.name}={self.default}" if self.default is not None else f"{self.name}=…"
        return shown if self.required else f"[{shown}]"


@dataclass(frozen=True)
class FaultKind:
    """`target` says whom, `options` how. An instant fault is over at once and has nothing to heal."""

    name: str
    says: str
    target: tuple[Field, ...]
    options: tuple[Field, ...] = ()
    instant: bool = False
    needs: Needs = ""

    @property
    def fields(self) -> tuple[Field, ...]:
        return (*self.target, *self.options) if self.instant else (*self.target, *self.options, FOR_SECONDS)


def _optional(name: str, check: Callable[[object], Any], default: Any = None, *, words: bool = True) -> Field:
    return Field(name, check, required=False, default=default, words=words)


def _value(name: str, check: Callable[[object], Any]) -> Field:
    return Field(name, check, words=False)


FOR_SECONDS = _optional("for_seconds", _seconds, words=False)
"""After so long the fault heals by itself."""

_POD = (Field("pod", _name), _optional("namespace", _name, DEFAULT_NAMESPACE), _optional("node", _node))
_CLAIM = (Field("claim", _name), _optional("namespace", _name, DEFAULT_NAMESPACE))
_COMPONENT_FIELD = (Field("component", _component),)
_BETWEEN = (Field("from", _endpoint), Field("to", _endpoint))
_WATCHER = (Field("controller", _name),)
_ONE_WAY = _optional("one_way", _yes_or_no, default=False, words=False)

_KINDS = (
    FaultKind("kill-pod", "signal the first process of each container, or of one", _POD,
              (_optional("container", _name), _optional("signal", _signal, "KILL")), instant=True),
    FaultKind("freeze-pod", "stop all processes of the pod where they stand (SIGSTOP)", _POD),
    FaultKind("kill", "kill a component; it is made again under its name", _COMPONENT_FIELD, instant=True),
    FaultKind("freeze", "stop a component where it stands (SIGSTOP)", _COMPONENT_FIELD),
    FaultKind("stop", "kill a component and keep it down", _COMPONENT_FIELD),
    FaultKind("power-off", "a machine with its kubelet, service proxy and pods, gone at once", (Field("node", _node),)),
    FaultKind("cut", "no packet passes", _BETWEEN, (_ONE_WAY,), needs="namespaces"),
    FaultKind("loss", "a share of the packets is lost", _BETWEEN, (_value("share", _share), _ONE_WAY),
              needs="namespaces"),
    FaultKind("delay", "packets take longer", _BETWEEN,
              (_value("delay_ms", _milliseconds), _optional("jitter_ms", _milliseconds, 0.0, words=False), _ONE_WAY),
              needs="namespaces"),
    FaultKind("bandwidth", "packets beyond a rate are lost", _BETWEEN,
              (_value("kbit_per_second", _rate), _ONE_WAY), needs="namespaces"),
    FaultKind("fill-disk", "writes to the volume find it full (ENOSPC)", _CLAIM),
    FaultKind("read-only-disk", "the volume cannot be written (EROFS)", _CLAIM),
    FaultKind("fail-fsync", "fsync and fdatasync on the volume fail (EIO)", _CLAIM),
    FaultKind("slow-fsync", "fsync and fdatasync on the volume take longer", _CLAIM,
              (_value("delay_ms", _milliseconds),)),
    FaultKind("skew-clock", "a node's kubelet sees another time", (Field("node", _node),), (_value("seconds", _skew),)),
    FaultKind("delay-watch", "a controller (or a component's every watch) sees changes late", _WATCHER,
              (_value("seconds", _seconds),)),
    FaultKind("duplicate-watch", "it sees every change twice", _WATCHER),
    FaultKind("drop-watch", "it never sees a share of the changes", _WATCHER, (_value("share", _share),)),
)  # fmt: skip

FAULTS: Mapping[str, FaultKind] = {kind.name: kind for kind in _KINDS}


@dataclass(frozen=True)
class Fault:
    """A checked fault: `target` and `options` hold every field of its kind that was given or has a default."""

    kind: str
    target: Mapping[str, Any]
    options: Mapping[str, Any]

    def __getitem__(self, field: str) -> Any:
        """A field's value; None when it was not given."""
        return {**self.target, **self.options}.get(field)

    @property
    def for_seconds(self) -> float | None:
        seconds: float | None = self.options.get(FOR_SECONDS.name)
        return seconds

    @property
    def is_instant(self) -> bool:
        return FAULTS[self.kind].instant

    def as_json(self) -> dict[str, Any]:
        """The mapping that parses to this fault."""
        return {"fault": self.kind, **self.target, **self.options}


def parse_fault(mapping: object) -> Fault:
    """Check a mapping. Raises BadFault with one line that says what is wrong and what would be right."""
    if not isinstance(mapping, Mapping):
        raise BadFault("a fault is a mapping: {fault: KIND, …}")
    given = {str(key): value for key, value in mapping.items()}
    kind = _kind(given.pop("fault", None))
    unknown = sorted(given.keys() - {field.name for field in kind.fields})
    if unknown:
        known = ", ".join(field.name for field in kind.fields)
        raise BadFault(f"{kind.name} has no field {unknown[0]!r}; it has {known}")
    target = {field.name for field in kind.target}
    values = {field.name: _checked(kind, field, given) for field in kind.fields}
    present = {name: value for name, value in values.items() if value is not None}
    return Fault(
        kind.name,
        {name: value for name, value in present.items() if name in target},
        {name: value for name, value in present.items() if name not in target},
    )


def fault_from_words(kind: str, words: Iterable[str]) -> Fault:
    """A fault from a command line: its kind and `field=value` words. Raises BadFault."""
    mapping: dict[str, object] = {"fault": kind}
    names = {field.name for field in _kind(kind).fields if field.words}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise BadFault(f"{word!r}: give fields as NAME=VALUE")
        if name in mapping:
            raise BadFault(f"{name} is given twice")
        mapping[name] = text if name in names else _scalar(name, text)
    return parse_fault(mapping)


def faults_from_yaml(text: str) -> list[Fault]:
    """Every fault of a YAML (or JSON) text: documents of one fault or a list of them. Raises BadFault."""
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except YAML_ERRORS as error:
        raise BadFault(f"this is no YAML: {' '.join(str(error).split())}") from None
    mappings = [each for document in documents for each in (document if isinstance(document, list) else [document])]
    if not mappings:
        raise BadFault("there is no fault in it")
    return [parse_fault(mapping) for mapping in mappings]


@dataclass(frozen=True)
class Endpoint:
    """One end of a network fault: a `node`, a `pod`, one of CONTROL_PLANE, or EVERYTHING."""

    kind: str
    name: str = ""
    namespace: str = DEFAULT_NAMESPACE


def parse_endpoint(value: object) -> Endpoint:
    """Raises BadFault."""
    if value in (*CONTROL_PLANE, EVERYTHING):
        return Endpoint(str(value))
    kind, *names = str(value).split("/") if isinstance(value, str) else ("",)
    if not all(_NAME.fullmatch(each) for each in names):
        names = []
    match kind, names:
        case "node", [name] if _NODE.fullmatch(name):
            return Endpoint(kind, name)
        case "pod", [name]:
            return Endpoint(kind, name)
        case "pod", [namespace, name]:
            return Endpoint(kind, name, namespace)
    raise BadFault(_ENDPOINTS)


def _kind(name: object) -> FaultKind:
    kind = FAULTS.get(name) if isinstance(name, str) else None
    if kind is None:
        said = f"no fault {name!r}" if name is not None else "no `fault` is named"
        raise BadFault(f"{said}; there are {', '.join(FAULTS)}")
    return kind


def _checked(kind: FaultKind, field: Field, given: Mapping[str, object]) -> Any:
    value = given.get(field.name)
    if value is None:
        if field.required:
            raise BadFault(f"{kind.name} needs {field.name}")
        return field.default
    try:
        return field.check(value)
    except BadFault as error:
        raise BadFault(f"{kind.name}: {field.name} is {value!r}; give {error}") from None


def _scalar(name: str, text: str) -> object:
    try:
        return yaml.safe_load(text)
    except YAML_ERRORS:
        raise BadFault(f"{name}: {text!r} is no value") from None
