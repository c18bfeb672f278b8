"""Which log a client means, from the query of a log request (pure; the API server checked the values)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from petset.cluster.api.cri import ContainerStatus, LogRequest
from petset.cluster.errors import BadRequest, NotFound


def log_request(sandbox_uid: str, attempts: Sequence[ContainerStatus], query: Mapping[str, str]) -> LogRequest:
    """The request to the node. `since` comes as seconds since the epoch. Raises NotFound, BadRequest."""
    previous = query.get("previous") == "true"
    if len(attempts) < (2 if previous else 1):
        raise NotFound("previous terminated container not found" if previous else "container not found")
    wanted = attempts[-2] if previous else attempts[-1]
    try:
        return LogRequest(
            sandbox_uid,
            wanted.name,
            wanted.attempt,
            follow=query.get("follow") == "true",
            timestamps=query.get("timestamps") == "true",
            tail_lines=int(query["tailLines"]) if "tailLines" in query else None,
            limit_bytes=int(query["limitBytes"]) if "limitBytes" in query else None,
            since=float(query.get("since") or 0.0),
            stream=query.get("stream", ""),
        )
    except ValueError as error:
        raise BadRequest(f"bad log options: {error}") from error
