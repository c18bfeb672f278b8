"""No event loop by accident.

looptime's pytest plugin asks for the current loop before synchronous tests too; the first such question of a program
makes a loop that nobody closes, which is a warning (here an error) at some later moment. After a loop was set once,
to None, the question makes none.
"""

from __future__ import annotations

import asyncio

asyncio.set_event_loop(None)
