"""Which objects a list, a watch, a Service or a StatefulSet means: label and field selectors.

    "app=web,tier in (a,b),!old" ──parse_label_selector──▶ LabelMatcher ◀──selector_of── LabelSelector object
    "spec.nodeName=node-1"       ──parse_field_selector──▶ FieldMatcher

Both are conjunctions of requirements, frozen, hashable and printed in Kubernetes' canonical form by `str`. Texts
that do not parse raise `BadRequest` with the texts of apimachinery's labels.Parse and fields.ParseSelector. Which
field paths a kind supports is the API server's business: `FieldMatcher.paths` tells it what was asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from petset.cluster.api.objects import Object, labels_of
from petset.cluster.errors import BadRequest

EXISTS, ABSENT, IN, NOT_IN, GREATER, LESS = "Exists", "DoesNotExist", "In", "NotIn", "Gt", "Lt"

_OPERATORS = {"=": "=", "==": "=", "!=": "!=", "in": IN, "notin": NOT_IN, ">": GREATER, "<": LESS}
_LEXEMES = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+)")
_SYMBOLS = frozenset({"==", "!=", "=", "!", "(", ")", ",", "<", ">", ""})

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


@dataclass(frozen=True)
class Requirement:
    """One condition on one label; `operator` is `=`, `!=` or a LabelSelector operator, `values` sorted."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        if self.operator in ("=", IN):
            return self.key in labels and labels[self.key] in self.values
        if self.operator in ("!=", NOT_IN):
            return labels.get(self.key) not in self.values
        if self.operator == EXISTS:
            return self.key in labels
        if self.operator == ABSENT:
            return self.key not in labels
        return self._compares(labels.get(self.key, ""))

    def _compares(self, value: str) -> bool:
        if not _is_integer(value):
            return False
        bound = int(self.values[0])
        return int(value) > bound if self.operator == GREATER else int(value) < bound

    def __str__(self) -> str:
        if self.operator == EXISTS:
            return self.key
        if self.operator == ABSENT:
            return f"!{self.key}"
        if self.operator in (IN, NOT_IN):
            return f"{self.key} {self.operator.lower()} ({','.join(self.values)})"
        return f"{self.key}{ {GREATER: '>', LESS: '<'}.get(self.operator, self.operator) }{self.values[0]}"


@dataclass(frozen=True)
class LabelMatcher:
    """A conjunction of requirements; without any it matches everything, with `nothing` set it matches nothing."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        return not self.nothing and all(each.matches(labels) for each in self.requirements)

    def selects(self, obj: Object) -> bool:
        """Whether the object's labels match."""
        return self.matches(labels_of(obj))

    def __str__(self) -> str:
        return ",".join(str(each) for each in self.requirements)


EVERYTHING = LabelMatcher()
NOTHING = LabelMatcher(nothing=True)


def selector_of(label_selector: Mapping[str, Any] | None) -> LabelMatcher:
    """The matcher of a `metav1.LabelSelector`: an absent one selects nothing, an empty one everything.

    Raises BadRequest for an operator that does not exist or a wrong number of values.
    """
    if label_selector is None:
        return NOTHING
    exact = [Requirement(key, "=", (value,)) for key, value in (label_selector.get("matchLabels") or {}).items()]
    return _sorted([*exact, *map(requirement_of, label_selector.get("matchExpressions") or ())])


def selector_of_labels(labels: Mapping[str, str] | None) -> LabelMatcher:
    """The matcher of a plain map, as in a Service's `spec.selector`: an absent or empty one selects nothing."""
    if not labels:
        return NOTHING
    return _sorted([Requirement(key, "=", (value,)) for key, value in labels.items()])


def workload_selector(workload: Mapping[str, Any]) -> LabelMatcher:
    """Which pods a StatefulSet, Deployment, ReplicaSet or ReplicationController means; the last has a plain map."""
    selector = workload["spec"].get("selector")
    return selector_of_labels(selector) if workload["kind"] == "ReplicationController" else selector_of(selector)


def requirement_of(expression: Mapping[str, Any]) -> Requirement:
    """The requirement of one `{key, operator, values}`, also of a node selector (which knows Gt and Lt).

    Raises BadRequest as `selector_of`.
    """
    operator = str(expression.get("operator", ""))
    if operator not in (IN, NOT_IN, EXISTS, ABSENT, GREATER, LESS):
        raise BadRequest(f'"{operator}" is not a valid label selector operator')
    return _checked(str(expression.get("key", "")), operator, expression.get("values") or ())


def parse_label_selector(text: str) -> LabelMatcher:
    """The matcher of a `labelSelector` query parameter; the empty text matches everything. Raises BadRequest."""
    tokens = _Tokens(text)
    if tokens.peek == "":
        return EVERYTHING
    requirements = []
    while True:
        if tokens.peek in _SYMBOLS - {"!"}:
            raise BadRequest(f"found '{tokens.peek}', expected: !, identifier, or 'end of string'")
        try:
            requirements.append(_requirement(tokens))
        except BadRequest as error:
            raise BadRequest(f"unable to parse requirement: {error}") from error
        separator = tokens.take()
        if separator == "":
            return _sorted(requirements)
        if separator != ",":
            raise BadRequest(f"found '{separator}', expected: ',' or 'end of string'")
        if tokens.peek in _SYMBOLS - {"!"}:
            raise BadRequest(f"found '{tokens.peek}', expected: identifier after ','")


class _Tokens:
    """The text cut into symbols and words; the empty token stands for its end."""

    def __init__(self, text: str) -> None:
        self._tokens = [match.group(1) for match in _LEXEMES.finditer(text)]
        self._at = 0

    @property
    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self) -> str:
        token = self.peek
        self._at += 1
        return token


def _requirement(tokens: _Tokens) -> Requirement:
    absent = tokens.peek == "!"
    if absent:
        tokens.take()
    key = tokens.take()
    if key in _SYMBOLS:
        raise BadRequest(f"found '{key}', expected: identifier")
    if absent:
        return _checked(key, ABSENT, ())
    if tokens.peek in ("", ","):
        return _checked(key, EXISTS, ())
    word = tokens.take()
    operator = _OPERATORS.get(word)
    if operator is None:
        raise BadRequest(f"found '{word}', expected: in, notin, =, ==, !=, gt, lt")
    if operator in (IN, NOT_IN):
        return _checked(key, operator, _set_of_values(tokens))
    return _checked(key, operator, (_exact_value(tokens),))


def _exact_value(tokens: _Tokens) -> str:
    if tokens.peek in ("", ","):
        return ""
    value = tokens.take()
    if value in _SYMBOLS:
        raise BadRequest(f"found '{value}', expected: identifier")
    return value


def _set_of_values(tokens: _Tokens) -> list[str]:
    """`(a,b)`; an empty place between commas is the empty value, as in labels.Parse."""
    if (opening := tokens.take()) != "(":
        raise BadRequest(f"found '{opening}' expected: '('")
    values: list[str] = []
    while True:
        if tokens.peek in (",", ")"):
            values.append("")
        elif tokens.peek in _SYMBOLS:
            raise BadRequest(f"found '{tokens.peek}', expected: ',', ')' or identifier")
        else:
            values.append(tokens.take())
        closing = tokens.take()
        if closing == ")":
            return values
        if closing != ",":
            raise BadRequest(f"found '{closing}', expected: ',' or ')'")


def _checked(key: str, operator: str, values: Iterable[str]) -> Requirement:
    """labels.NewRequirement: the key is a qualified name, values are label values of the right number."""
    prefix, slash, name = key.rpartition("/")
    if not _NAME.fullmatch(name) or (slash and not _PREFIX.fullmatch(prefix)):
        raise BadRequest(f'key: Invalid value: "{key}": {_NAME_RULE}')
    found = tuple(sorted(set(map(str, values))))
    shown = "[" + " ".join(found) + "]"
    if operator in (IN, NOT_IN) and not found:
        raise BadRequest(f"values: Invalid value: {shown}: for 'in', 'notin' operators, values set can't be empty")
    if operator in (EXISTS, ABSENT) and found:
        raise BadRequest(f"values: Invalid value: {shown}: values set must be empty for exists and does not exist")
    if operator in (GREATER, LESS) and len(found) != 1:
        raise BadRequest(f"values: Invalid value: {shown}: for 'Gt', 'Lt' operators, exactly one value is required")
    for index, value in enumerate(found):
        if operator in (GREATER, LESS) and not _is_integer(value):
            raise BadRequest(
                f"values[{index}]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer"
            )
        if value and not _NAME.fullmatch(value):
            raise BadRequest(f'values[{index}][{key}]: Invalid value: "{value}": {_VALUE_RULE}')
    return Requirement(key, operator, found)


def _is_integer(text: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]+", text) is not None


def _sorted(requirements: list[Requirement]) -> LabelMatcher:
    return LabelMatcher(tuple(sorted(requirements, key=lambda each: each.key)))


_WHEN_ABSENT = {"spec.unschedulable": "false", "spec.hostNetwork": "false"}
"""Booleans whose field selectors say `false` although JSON leaves the field out (ToSelectableFields)."""


@dataclass(frozen=True)
class FieldRequirement:
    """One condition on the text of one field."""

    path: str
    value: str
    equal: bool

    def matches(self, obj: Mapping[str, Any]) -> bool:
        return (field_text(obj, self.path) == self.value) is self.equal

    def __str__(self) -> str:
        escaped = re.sub(r"([\\,=])", r"\\\1", self.value)
        return f"{self.path}{'=' if self.equal else '!='}{escaped}"


@dataclass(frozen=True)
class FieldMatcher:
    """A conjunction of field requirements; without any it matches everything."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, obj: Mapping[str, Any]) -> bool:
        return all(each.matches(obj) for each in self.requirements)

    def exact(self, path: str) -> str | None:
        """The value that `path=value` requires, or None when the selector does not say."""
        return next((each.value for each in self.requirements if each.equal and each.path == path), None)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every field that the selector asks about, in its order."""
        return tuple(each.path for each in self.requirements)

    def __str__(self) -> str:
        return ",".join(str(each) for each in self.requirements)


def parse_field_selector(text: str) -> FieldMatcher:
    """The matcher of a `fieldSelector` query parameter; the empty text matches everything. Raises BadRequest."""
    requirements = []
    for term in _terms(text):
        found = re.match(r"(?P<path>[^=!]*)(?P<operator>!=|==|=)(?P<value>.*)", term, re.DOTALL)
        if found is None:
            raise BadRequest(f"invalid selector: '{text}'; can't understand '{term}'")
        equal = found["operator"] != "!="
        requirements.append(FieldRequirement(found["path"], _unescaped(found["value"]), equal))
    return FieldMatcher(tuple(requirements))


def _terms(text: str) -> list[str]:
    """Split at commas that no backslash escapes."""
    return [term for term in re.findall(r"(?:\\.|[^,\\]|\\$)*", text, re.DOTALL) if term]


def _unescaped(value: str) -> str:
    r"""Undo `\\`, `\,` and `\=` (fields.UnescapeValue)."""
    if wrong := re.search(r"\\(?![\\,=]).?", re.sub(r"\\[\\,=]", "", value), re.DOTALL):
        raise BadRequest(f"invalid field selector: invalid escape sequence: {wrong.group()}")
    if re.search(r"[,=]", re.sub(r"\\[\\,=]", "", value)):
        raise BadRequest(f"invalid field selector: unescaped character in value: {value}")
    return re.sub(r"\\([\\,=])", r"\1", value)


def field_text(obj: Mapping[str, Any], path: str) -> str:
    """A field as a field selector sees it: missing is the empty string, booleans are `true` and `false`."""
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        return _WHEN_ABSENT.get(path, "")
    return str(value).lower() if isinstance(value, bool) else str(value)


def forgiving_selector_of(label_selector: Mapping[str, Any] | None) -> LabelMatcher:
    """As `selector_of`, for stored objects: a selector that cannot be evaluated selects nothing."""
    try:
        return selector_of(label_selector)
    except BadRequest:
        return NOTHING


def node_selector_matches(selector: Mapping[str, Any] | None, node: Mapping[str, Any]) -> bool:
    """A `v1.NodeSelector` on a node: any term is enough, an empty term matches nothing, no selector everything.

    A term that cannot be evaluated matches nothing, as in component-helpers' nodeaffinity.
    """
    if selector is None:
        return True
    return any(node_term_matches(term, node) for term in selector.get("nodeSelectorTerms") or ())


def node_term_matches(term: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
    """One term: every expression holds for the node's labels, every matchFields entry for `metadata.name`."""
    by_label, by_field = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not by_label and not by_field:
        return False
    labels = node["metadata"].get("labels") or {}
    fields = {"metadata.name": node["metadata"]["name"]}
    try:
        return all(requirement_of(each).matches(labels) for each in by_label) and all(
            requirement_of(each).matches(fields) for each in by_field
        )
    except BadRequest:
        return False
