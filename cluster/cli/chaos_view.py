"""How `petset chaos run` shows a run: live progress on a terminal, phases elsewhere, and a summary at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from petset.cluster.chaos.measures import availability
from petset.cluster.chaos.report import counts_of
from petset.cluster.chaos.run import Outcome, Run

REFRESH_SECONDS = 0.5
SHOWN_VIOLATIONS = 5


@asynccontextmanager
async def shown_live(console: Console, run: Run) -> AsyncIterator[None]:
    """Show the run until the block ends: redrawn on a terminal, a line per phase elsewhere."""
    show = _redraw if console.is_terminal else _tell_phases
    showing = asyncio.create_task(show(console, run), name="progress")
    try:
        yield
    finally:  # no task group: it would wrap the run's own errors, which the command tells as they are
        showing.cancel()
        with suppress(asyncio.CancelledError):
            await showing


async def _redraw(console: Console, run: Run) -> None:
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(_picture(run), refresh=True)
            await asyncio.sleep(REFRESH_SECONDS)


async def _tell_phases(console: Console, run: Run) -> None:
    told = ""
    while True:
        if run.phase != told:
            told = run.phase
            console.print(f"  {told}", highlight=False)
        await asyncio.sleep(REFRESH_SECONDS)


def _picture(run: Run) -> RenderableType:
    seen = run.seen
    now = run.clock.now()
    active = [each.words for each in seen.injected if not each.error and each.began_at <= now < each.ended_at]
    outcomes = [write.outcome for write in seen.writes]
    elapsed = max(0.0, min(now - seen.began_at, run.plan.duration_seconds)) if run.steps else 0.0
    recent = seen.probes[-40:]
    lines = [
        Text.assemble((f"{run.phase} ", "bold"), f"{elapsed:5.1f} of {run.plan.duration_seconds:g} s"),
        Text(f"{len(seen.injected)} of {len(run.steps)} steps; active: {', '.join(active) or 'none'}"),
        Text(f"writes: {outcomes.count('acknowledged')} acknowledged, {len(outcomes)} sent"),
        Text(f"answered: {sum(each.answered for each in recent)} of the last {len(recent)} probes"),
    ]
    return Group(*lines)


def summary(outcome: Outcome) -> RenderableType:
    """Verdicts, counts and availability."""
    verdicts = Table("ORACLE", "VERDICT", "JUDGED", "", box=None, pad_edge=False)
    for each in outcome.verdicts:
        word = Text(each.word, "bold red" if each.broken else "green" if each.judged else "yellow")
        if each.waived:
            seconds = sum(violation.duration_seconds or 0.0 for violation in each.waived)
            word.append(f", {len(each.waived)} waived ({seconds:.1f} s)", "yellow")
        verdicts.add_row(each.oracle, word, str(each.judged), escape("; ".join(each.notes)))
    served = ", ".join(f"{each.target} {each.share:.1%}" for each in availability(outcome.seen))
    counts = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in counts_of(outcome).items())
    refused = [Text(f"not done: {each.words}: {each.error}", "yellow") for each in outcome.seen.injected if each.error]
    broken = [Text(f"violated: {violation.what}", "red") for each in outcome.verdicts for violation in each.broken][
        :SHOWN_VIOLATIONS
    ]
    return Group(verdicts, Text(counts), Text(f"answered: {served}"), *refused[:SHOWN_VIOLATIONS], *broken)
