"""Every script of tests/scenarios/scripts tells what happens (script.py).

After a change that is meant to be seen, `PETSET_UPDATE_SCRIPTS=1 pytest tests/scenarios/test_scripts.py` writes the
outputs as they are now: read the difference as carefully as the change itself.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.scenarios.script import play
from tests.scenarios.stage import staged

pytestmark = pytest.mark.looptime

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))
UPDATE = os.environ.get("PETSET_UPDATE_SCRIPTS") == "1"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
async def test_script(path: Path) -> None:
    golden = _read(path)
    async with staged() as stage:
        played = await play(golden, stage)
    if UPDATE:
        _write(path, played)
        return
    assert played == golden, f"{path.name} tells something else; see PETSET_UPDATE_SCRIPTS in {Path(__file__).name}"


def _read(path: Path) -> str:
    return path.read_text()


def _write(path: Path, script: str) -> None:
    path.write_text(script)
