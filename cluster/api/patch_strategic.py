"""Kubernetes' strategic merge patch: a merge patch that knows which lists merge, and by which key.

    patch: {"containers": [{"name": "web", "image": "web:2"}, {"name": "old", "$patch": "delete"}],
            "$setElementOrder/containers": [{"name": "web"}, {"name": "log"}]}

      live  [old, log, web:1] ──delete, merge by `name`──▶ [log, web:2] ──order──▶ [web:2, log]

Directives, all of which vanish from the result:

- `$patch: replace|delete` in an object: take this object instead, or leave it empty. In an element of a merging list:
  the list is replaced by the other elements of the patch, or the element with this key goes.
- `$retainKeys`: the fields that stay; others go.
- `$deleteFromPrimitiveList/x`: values that leave the list of scalars x.
- `$setElementOrder/x`: the order of the elements that the client knows. Others keep their place in front of the first
  ordered one that they preceded. Without it the patch's own list gives the order.

Semantics of apimachinery's strategicpatch.StrategicMergePatch (1.34). Different on purpose: `$patch: replace` of an
object that is not there yet sets it (there the value gets lost), directives and nulls never reach the object, and a
live element without its merge key is left alone (there the whole patch fails). As there, `$patch: merge` is an error,
and of list elements with equal keys (two ports 53, TCP and UDP) only the first one is merged into.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from itertools import chain
from typing import Any, Final

from petset.cluster.api.patch_schema import FieldRule, PatchSchema
from petset.cluster.errors import BadRequest

_PATCH: Final = "$patch"
_RETAIN: Final = "$retainKeys"
_ORDER: Final = "$setElementOrder/"
_DELETE: Final = "$deleteFromPrimitiveList/"

_Identity = Hashable
"""What makes two list elements the same: the merge key's value, or the scalar itself. None: nothing does."""


def merge_objects(target: dict[str, Any], patch: Mapping[str, Any], schema: PatchSchema) -> dict[str, Any]:
    """The patched object. Takes `target` apart: it must be the caller's own. Raises BadRequest."""
    if _PATCH in patch:
        return _whole(patch)
    _retain(target, patch)
    orders: dict[str, list[Any]] = {}
    for directive, value in patch.items():
        if directive.startswith(_DELETE):
            _delete_scalars(target, directive.removeprefix(_DELETE), _list(directive, value))
        elif directive.startswith(_ORDER):
            orders[directive.removeprefix(_ORDER)] = _list(directive, value)
    for name, value in patch.items():
        if not _is_directive(name):
            _merge_field(target, name, value, rule=schema.field(name), order=orders.pop(name, None))
    for name, order in orders.items():
        rule = schema.field(name)
        if "merge" in rule.strategy and isinstance(target.get(name), list):
            target[name] = _merge_lists(target[name], [], rule=rule, order=order)
    return target


def _merge_field(target: dict[str, Any], name: str, value: Any, *, rule: FieldRule, order: list[Any] | None) -> None:
    live = target.get(name)
    if value is None:
        target.pop(name, None)
    elif isinstance(value, list) and "merge" in rule.strategy:
        target[name] = _merge_lists(live if isinstance(live, list) else None, value, rule=rule, order=order)
    elif isinstance(value, dict) and isinstance(live, dict) and "replace" not in rule.strategy:
        target[name] = merge_objects(live, value, rule.child)
    elif _vanishes(value):
        target.pop(name, None)
    else:
        target[name] = _literal(value)


def _retain(target: dict[str, Any], patch: Mapping[str, Any]) -> None:
    if _RETAIN not in patch:
        return
    retained = _list(_RETAIN, patch[_RETAIN])
    for name, value in patch.items():
        if value is not None and not _is_directive(name) and name not in retained:
            raise BadRequest(f"the patch sets {name!r}, which its {_RETAIN} does not name")
    for name in [name for name in target if name not in retained]:
        del target[name]


def _delete_scalars(target: dict[str, Any], name: str, values: list[Any]) -> None:
    doomed = {_scalar(value) for value in values}
    if isinstance(live := target.get(name), list):
        target[name] = [each for each in live if isinstance(each, (dict, list)) or _scalar(each) not in doomed]


def _merge_lists(live: list[Any] | None, patch: list[Any], *, rule: FieldRule, order: list[Any] | None) -> list[Any]:
    """The merged list; `live` is None when there is none to merge into, so that the patch's list is taken as it is."""
    if live is None and order is None:
        return [_literal(element) for element in patch if _directive(element) is None]
    before = live or []
    if not before and not patch:
        return []
    if not _holds_objects(before, patch):
        additions = patch
        merged = list(patch) if live is None else _without_repetitions(before + patch)
        key = ""
    elif key := rule.merge_key:
        additions = [element for element in patch if _PATCH not in element]
        merged = _literal(patch) if live is None else _merge_elements(before, patch, rule=rule)
    else:
        raise BadRequest("the patch has objects for a list that merges values")
    if order is not None:
        _check_order(additions, order, key)
    wanted = additions if order is None else order
    return _in_order(merged, wanted=[_key(each, key) for each in wanted], live=before, key=key)


def _merge_elements(live: list[Any], patch: list[Any], *, rule: FieldRule) -> list[Any]:
    key = rule.merge_key
    doomed = {_key(element, key) for element in patch if _directive(element) == "delete"}
    additions = [element for element in patch if _directive(element) is None]
    if any(_directive(element) == "replace" for element in patch):
        return [_literal(element) for element in additions]
    merged = [element for element in live if _identity(element, key) not in doomed]
    positions: dict[_Identity, int] = {}
    for position, element in enumerate(merged):
        positions.setdefault(_identity(element, key), position)
    for element in additions:
        position = positions.setdefault(_key(element, key), len(merged))
        if position < len(merged):
            merged[position] = merge_objects(merged[position], element, rule.child)
        else:
            merged.append(_literal(element))
    return merged


def _in_order(merged: list[Any], *, wanted: list[_Identity], live: list[Any], key: str) -> list[Any]:
    """The wanted elements in their order, and each other one before the first of them that it preceded."""
    rank = _positions(wanted)
    place = _positions(_identity(element, key) for element in live)

    def precedes(other: Any, known: Any) -> bool:
        one, two = _identity(other, key), _identity(known, key)
        return one in place and two in place and place[one] < place[two]

    others = deque(element for element in merged if _identity(element, key) not in rank)
    known = [element for element in merged if _identity(element, key) in rank]
    result = []
    for element in sorted(known, key=lambda each: rank[_identity(each, key)]):
        while others and precedes(others[0], element):
            result.append(others.popleft())
        result.append(element)
    return [*result, *others]


def _check_order(additions: list[Any], order: list[Any], key: str) -> None:
    """The patch's elements must be in the order list, and in its order."""
    rank = _positions(_key(each, key) for each in order)
    ranks = [rank.get(_key(each, key), -1) for each in additions]
    if order and (-1 in ranks or ranks != sorted(ranks)):
        raise BadRequest(f"the order of the elements in the patch does not match its {_ORDER} list")


def _positions(identities: Iterable[_Identity]) -> dict[_Identity, int]:
    """The first position of each."""
    positions: dict[_Identity, int] = {}
    for position, identity in enumerate(identities):
        if identity is not None:
            positions.setdefault(identity, position)
    return positions


def _identity(element: Any, key: str) -> _Identity:
    if not key:
        return _scalar(element)
    value = element.get(key)
    return None if value is None or isinstance(value, (dict, list)) else _scalar(value)


def _key(element: Any, key: str) -> _Identity:
    """The identity of an element of the patch, which must have one."""
    if key and not isinstance(element, dict):
        raise BadRequest("the elements of a list that merges objects must be objects")
    identity = _identity(element, key)
    if identity is None:
        raise BadRequest(f"an element of a list in the patch does not contain the declared merge key: {key}")
    return identity


def _scalar(value: Any) -> _Identity:
    if isinstance(value, (dict, list)):
        raise BadRequest("the elements of a list that merges values must be values")
    return isinstance(value, bool), value  # to Python, but not to JSON, True is 1


def _holds_objects(*lists: list[Any]) -> bool:
    kinds = {type(each) if isinstance(each, (dict, list)) else None for each in chain(*lists)}
    if list in kinds:
        raise BadRequest("lists of lists cannot be merged")
    if len(kinds) > 1:
        raise BadRequest("a list cannot hold both objects and values")
    return dict in kinds


def _without_repetitions(values: list[Any]) -> list[Any]:
    return list({_scalar(value): value for value in reversed(values)}.values())[::-1]


def _literal(value: Any) -> Any:
    """A value of the patch as it gets into the object where there is nothing to merge with: a copy without
    directives and nulls."""
    if isinstance(value, dict):
        if _PATCH in value:
            return _whole(value)
        return {
            name: _literal(each)
            for name, each in value.items()
            if each is not None and not _is_directive(name) and not _vanishes(each)
        }
    if isinstance(value, list):
        return [_literal(each) for each in value if _directive(each) is None]
    return value


def _whole(patch: Mapping[str, Any]) -> dict[str, Any]:
    """What an object with `$patch` becomes."""
    if _directive(patch) == "delete":
        return {}
    result: dict[str, Any] = _literal({name: value for name, value in patch.items() if name != _PATCH})
    return result


def _vanishes(value: Any) -> bool:
    return _directive(value) == "delete"


def _directive(value: Any) -> str | None:
    if not isinstance(value, Mapping) or _PATCH not in value:
        return None
    directive = value[_PATCH]
    if directive not in ("replace", "delete"):
        raise BadRequest(f"unknown {_PATCH} directive: {directive!r} (replace and delete are known)")
    return str(directive)


def _is_directive(name: str) -> bool:
    return name in (_PATCH, _RETAIN) or name.startswith((_ORDER, _DELETE))


def _list(directive: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadRequest(f"{directive} must be a list")
    return value
