"""The options of requests, parsed from query strings and DeleteOptions bodies; what is nonsense is a BadRequest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from petset.cluster.errors import BadRequest

MAX_MANAGER_LENGTH = 128


@dataclass(frozen=True)
class WriteOptions:
    """`field_validation` is `Strict`, `Warn` (the server's default) or `Ignore`.

    `manager` is who the written fields belong to (server-side apply); `names_manager` says that the client named it.
    `force` lets an apply take fields from their owners.
    """

    dry_run: bool = False
    field_validation: str = "Warn"
    manager: str = "unknown"
    names_manager: bool = False
    force: bool = False

    @classmethod
    def parse(cls, query: Mapping[str, str], user_agent: str = "") -> WriteOptions:
        """Without a fieldManager, the manager is the first word of the User-Agent, as in Kubernetes."""
        validation = query.get("fieldValidation") or "Warn"
        if validation not in ("Strict", "Warn", "Ignore"):
            raise BadRequest(
                f'fieldValidation: Unsupported value: "{validation}": supported values: Ignore, Warn, Strict'
            )
        manager = query.get("fieldManager", "")
        if len(manager) > MAX_MANAGER_LENGTH or not manager.isprintable():
            raise BadRequest(f"fieldManager: Invalid value: must be printable, at most {MAX_MANAGER_LENGTH} characters")
        return cls(
            dry_run=_dry_run(query.get("dryRun")),
            field_validation=validation,
            manager=manager or user_agent.partition("/")[0][:MAX_MANAGER_LENGTH] or "unknown",
            names_manager=bool(manager),
            force=is_true(query.get("force")),
        )


@dataclass(frozen=True)
class DeleteOptions:
    """`grace_seconds` None: the object decides. `propagation` "" is the kind's default (Background)."""

    grace_seconds: int | None = None
    propagation: str = ""
    uid: str = ""
    revision: str = ""
    dry_run: bool = False

    @classmethod
    def parse(cls, query: Mapping[str, str], body: Mapping[str, Any] | None) -> DeleteOptions:
        """Query parameters and body say the same things; the body wins."""
        body = body or {}
        if not isinstance(body, Mapping):
            raise BadRequest("DeleteOptions must be an object")
        preconditions = body.get("preconditions") or {}
        grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
        propagation = body.get("propagationPolicy") or query.get("propagationPolicy") or ""
        if (orphan := body.get("orphanDependents")) is not None and not propagation:
            propagation = "Orphan" if orphan else "Background"
        if propagation not in ("", "Background", "Foreground", "Orphan"):
            raise BadRequest(f'propagationPolicy: Unsupported value: "{propagation}"')
        return cls(
            grace_seconds=None if grace is None else _whole(grace, "gracePeriodSeconds"),
            propagation=propagation,
            uid=preconditions.get("uid") or "",
            revision=preconditions.get("resourceVersion") or "",
            dry_run=_dry_run(body.get("dryRun") or query.get("dryRun")),
        )


@dataclass(frozen=True)
class ListOptions:
    """Selectors are texts here; `limit` 0 is no limit."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> ListOptions:
        return cls(
            label_selector=query.get("labelSelector", ""),
            field_selector=query.get("fieldSelector", ""),
            limit=_whole(query.get("limit") or 0, "limit"),
            continue_token=query.get("continue", ""),
        )


@dataclass(frozen=True)
class WatchOptions:
    """`revision` "" or "0" starts with the present state as ADDED events. `timeout_seconds` None: until it breaks."""

    label_selector: str = ""
    field_selector: str = ""
    revision: str = ""
    bookmarks: bool = False
    initial_events: bool = False
    timeout_seconds: float | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> WatchOptions:
        timeout = query.get("timeoutSeconds")
        revision = query.get("resourceVersion", "")
        if revision:
            _whole(revision, "resourceVersion")
        return cls(
            label_selector=query.get("labelSelector", ""),
            field_selector=query.get("fieldSelector", ""),
            revision=revision,
            bookmarks=is_true(query.get("allowWatchBookmarks")),
            initial_events=is_true(query.get("sendInitialEvents")),
            timeout_seconds=float(_whole(timeout, "timeoutSeconds")) if timeout else None,
        )


def is_true(text: str | None) -> bool:
    """A boolean query parameter, as Go reads it."""
    return text in ("1", "t", "T", "true", "TRUE", "True")


def _dry_run(value: Any) -> bool:
    values = value if isinstance(value, list) else [value] if value else []
    if any(each != "All" for each in values):
        raise BadRequest(f'dryRun: Unsupported value: "{values[0]}": supported values: "All"')
    return bool(values)


def _whole(value: Any, name: str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise BadRequest(f'{name}: Invalid value: "{value}": must be a whole number') from None
    if number < 0 and name != "gracePeriodSeconds":
        raise BadRequest(f"{name}: Invalid value: {number}: must not be negative")
    return number
