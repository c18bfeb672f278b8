"""Whether the kubelet's machine answers: the node is Ready only while it does.

A silence shorter than MAX_SILENCE_SECONDS (a machine's restart) is nobody's business (kubelet/runtime.go).
"""

from __future__ import annotations

import asyncio
import contextlib

MAX_SILENCE_SECONDS = 30.0


class Health:
    """`trouble` says why the node is not ready; it is empty when the node is."""

    def __init__(self) -> None:
        self.trouble = "container runtime status check may not have completed yet"
        self._answered_at: float | None = None
        self._news = asyncio.Event()

    def succeeded(self, *, at: float) -> None:
        """The machine answered a question asked at that loop time."""
        self._answered_at = at
        self._set("")

    def failed(self, trouble: str, *, at: float) -> None:
        """The machine did not answer."""
        if self._answered_at is None or at >= self._answered_at + MAX_SILENCE_SECONDS:
            self._set(trouble)

    async def changed(self, timeout_seconds: float) -> None:
        """Wait until `trouble` is another one than before, at most for that long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._news.wait()
        self._news.clear()

    def _set(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self._news.set()
