"""One log file per process of the cluster: `<folder>/log/<name>.log`, at most two files of 4 MiB each."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler

from petset.cluster.settings import ClusterFolder

_FILE_BYTES = 4 * 1024 * 1024
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_to_file(folder: ClusterFolder, name: str) -> None:
    """Send everything that this process logs, from INFO up, to its file. Call it once per process."""
    folder.log.mkdir(parents=True, exist_ok=True, mode=0o700)
    handler = RotatingFileHandler(folder.log / f"{name}.log", maxBytes=_FILE_BYTES, backupCount=1)
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
