"""What a container says at its end, as `state.terminated.message` shows it (kuberuntime_container.go).

    file at terminationMessagePath, its last FILE_BYTES ─▶ message
        empty, after a failure, FallbackToLogsOnError   ─▶ the log's last LOG_LINES lines, of them LOG_BYTES

Without a mount namespace the path cannot be given to a program under its own name: PET_TERMINATION_LOG in its
environment says where it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from petset.cluster.api.cri import ContainerSpec
from petset.cluster.node.log_file import LogFile
from petset.cluster.node.log_reader import last_text
from petset.cluster.node.sandbox import PodFolder

FILE_BYTES = 4096
LOG_BYTES = 2048
LOG_LINES = 80


@dataclass(frozen=True)
class Words:
    """Where a container's last words are looked for: `file` None when it has no place for them."""

    file: Path | None
    from_log: bool


def words_of(folder: PodFolder, spec: ContainerSpec) -> Words:
    return Words(folder.last_words(spec.name, spec.attempt) if spec.termination_log else None, spec.message_from_log)


def last_words(words: Words, log: LogFile, *, failed: bool) -> str:
    """The message of a container that ended; "" when it said nothing."""
    said = _end_of(words.file) if words.file else b""
    if not said and failed and words.from_log:
        said = last_text(log, lines=LOG_LINES, max_bytes=LOG_BYTES)
    return said.decode(errors="replace")


def _end_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - FILE_BYTES))
            return file.read(FILE_BYTES)
    except OSError as error:
        return f"Error on reading termination log {path}: {error.strerror}".encode()
