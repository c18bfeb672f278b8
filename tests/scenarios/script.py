"""Golden scripts: commands to a cluster, and below them what came of it.

    # A comment; kept as it is.
    scale web 2          commands, one per line (stage.py lists them)
    break web-1
    ---
      0s  pod web-2: terminating          seconds since the first command, and what happened
    (an empty line ends a block)

`play` answers the script with its outputs as they are now; a golden script is one that `play` does not change.
"""

from __future__ import annotations

from tests.scenarios.stage import Stage

SEPARATOR = "---"
NOTHING = "(nothing)"


async def play(script: str, stage: Stage) -> str:
    """The same script with the outputs that its commands have on this stage."""
    blocks = [await _play_block(block, stage) for block in _blocks(script)]
    return "\n\n".join(blocks) + "\n"


def _blocks(script: str) -> list[str]:
    return [block.strip("\n") for block in script.split("\n\n") if block.strip()]


async def _play_block(block: str, stage: Stage) -> str:
    heads = block.split(f"\n{SEPARATOR}", 1)[0].splitlines()
    commands = [line for line in heads if not line.startswith("#")]
    if not commands:
        return block
    outputs = await stage.play(commands) or [NOTHING]
    return "\n".join([*heads, SEPARATOR, *outputs])
