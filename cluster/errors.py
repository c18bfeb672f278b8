"""The one error family: what went wrong, how Kubernetes says it, and whether it certainly did not happen.

Every error is a Kubernetes `Status` in waiting (`to_status`), and every failed response becomes one again
(`from_status`), so an error reads the same on both sides of the wire. `definite` answers the caller's real
question: True means that the request certainly had no effect; False (a timeout, a dead connection) means that
nobody knows, and the caller must look before it tries again.

Exceptions here take positional arguments only, because they cross process borders by pickling.
"""

from __future__ import annotations

from typing import Any, ClassVar


class ApiError(Exception):
    """A request that was not fulfilled. `details` is the Status's `details` object."""

    code: int = 500
    reason: str = "InternalError"
    definite: bool = True

    def __init__(self, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message, details)
        self.message = message
        self.details = details or {}

    def __str__(self) -> str:
        return self.message

    def to_status(self) -> dict[str, Any]:
        """The `v1 Status` that a client receives."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details:
            status["details"] = self.details
        return status | {"code": self.code}


class BadRequest(ApiError):
    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    code, reason = 401, "Unauthorized"


class Forbidden(ApiError):
    code, reason = 403, "Forbidden"


class NotFound(ApiError):
    code, reason = 404, "NotFound"


class MethodNotAllowed(ApiError):
    code, reason = 405, "MethodNotAllowed"


class NotAcceptable(ApiError):
    code, reason = 406, "NotAcceptable"


class Conflict(ApiError):
    """The object changed since it was read, or a precondition does not hold."""

    code, reason = 409, "Conflict"


class AlreadyExists(ApiError):
    code, reason = 409, "AlreadyExists"


class Expired(ApiError):
    """The asked resourceVersion is no longer in the history: list again."""

    code, reason = 410, "Expired"


class TooLarge(ApiError):
    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    code, reason = 422, "Invalid"


class TooManyRequests(ApiError):
    code, reason = 429, "TooManyRequests"


class InternalError(ApiError):
    """A bug of ours: what happened to the request is unknown."""

    definite = False


class Unavailable(ApiError):
    """Nobody answered, or the connection broke: the request may or may not have happened."""

    code, reason, definite = 503, "ServiceUnavailable", False


class StatusError(ApiError):
    """A Status whose reason has no class of its own here."""

    def __init__(self, message: str, details: dict[str, Any] | None, code: int, reason: str) -> None:
        super().__init__(message, details)
        self.args = (message, details, code, reason)
        self.code, self.reason = code, reason


class _Reasons:
    known: ClassVar[dict[str, type[ApiError]]] = {
        cls.reason: cls
        for cls in (
            BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, NotAcceptable, Conflict, AlreadyExists,
            Expired, TooLarge, UnsupportedMediaType, Invalid, TooManyRequests, InternalError, Unavailable,
        )
    }  # fmt: skip


def from_status(status: dict[str, Any]) -> ApiError:
    """The error that a Status object stands for."""
    message = str(status.get("message") or "unknown error")
    reason = str(status.get("reason") or "")
    details = status.get("details")
    if cls := _Reasons.known.get(reason):
        return cls(message, details)
    return StatusError(message, details, int(status.get("code") or 500), reason or "Unknown")
