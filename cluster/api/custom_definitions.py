"""CustomResourceDefinitions as objects: what is filled in, what is refused, and the status that makes them served.

Rules and texts of apiextensions-apiserver's defaults.go and validation.go, for what petset uses of a definition. Left
out: webhook conversion, ratcheting, CEL rules. Pure.
"""

from __future__ import annotations

from typing import Any

from petset.cluster.api.custom_schema import schema_problem
from petset.cluster.api.fields import FieldError, not_supported, required, wrong
from petset.cluster.api.objects import Object


def fill_definition(definition: Object) -> None:
    """Names and conversion that follow from the rest, in place."""
    spec = definition["spec"]
    names = spec["names"]
    if not names.get("singular"):
        names["singular"] = names["kind"].lower()
    if not names.get("listKind"):
        names["listKind"] = names["kind"] + "List"
    if not spec.get("conversion"):
        spec["conversion"] = {"strategy": "None"}


def validate_definition(definition: Object) -> list[FieldError]:
    """Errors of a filled definition."""
    spec, name = definition["spec"], definition["metadata"].get("name", "")
    wanted = f"{spec['names']['plural']}.{spec['group']}"
    errors: list[FieldError] = []
    if name != wanted:
        errors.append(wrong("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    if not spec["group"]:
        errors.append(required("spec.group"))
    elif "." not in spec["group"]:
        errors.append(wrong("spec.group", spec["group"], "should be a domain with at least one dot"))
    if spec["scope"] not in ("Cluster", "Namespaced"):
        errors.append(not_supported("spec.scope", spec["scope"], ("Cluster", "Namespaced")))
    if sum(bool(each.get("storage")) for each in spec["versions"]) != 1:
        shown = [each["name"] for each in spec["versions"]]
        errors.append(wrong("spec.versions", shown, "must have exactly one version marked as storage version"))
    for index, version in enumerate(spec["versions"]):
        errors += _validate_version(f"spec.versions[{index}]", version)
    return errors


def _validate_version(path: str, version: Object) -> list[FieldError]:
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if schema is None:
        return [required(f"{path}.schema.openAPIV3Schema", "schemas are required")]
    if problem := schema_problem(schema):
        shown: Any = schema.get("type", "")
        return [wrong(f"{path}.schema.openAPIV3Schema", shown, problem)]
    return []


def validate_definition_update(new: Object, old: Object) -> list[FieldError]:
    """Group, scope and names that objects are stored under stay."""
    errors = []
    for path in (("group",), ("scope",), ("names", "kind"), ("names", "plural")):
        was, now = old["spec"], new["spec"]
        for part in path:
            was, now = was[part], now[part]
        if was != now:
            errors.append(wrong("spec." + ".".join(path), now, "field is immutable"))
    return errors


def served_status(definition: Object, old_status: Object, now: str) -> Object:
    """The status of a definition whose names are accepted: its kinds are served from now on."""
    stored = [each["name"] for each in definition["spec"]["versions"] if each.get("storage")]
    before = old_status.get("storedVersions") or []
    conditions = old_status.get("conditions") or [
        _condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
        _condition("Established", "InitialNamesAccepted", "the initial names have been accepted", now),
    ]
    return {
        "conditions": conditions,
        "acceptedNames": definition["spec"]["names"],
        "storedVersions": before + [each for each in stored if each not in before],
    }


def _condition(type_: str, reason: str, message: str, now: str) -> Object:
    return {"type": type_, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}
