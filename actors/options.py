"""Ray's options for every kind of actor, and what the death of one means: the one table.

`max_restarts=0` everywhere: the supervisor makes a dead actor again itself, under its name, several times faster
than Ray's own restart (1.8 s). `num_cpus=0`, because CPUs are only a label here. `max_concurrency` bounds the calls
that an actor works on at once, long polls included; further ones wait in Ray's queue. No `lifetime="detached"`: an
actor must not outlive its supervisor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ActorKind:
    """`stop_order`: kinds of the lowest number are stopped first, those of one number together."""

    max_concurrency: int
    death: str
    stop_order: int

    @property
    def ray_options(self) -> dict[str, Any]:
        return {"num_cpus": 0, "max_restarts": 0, "max_task_retries": 0, "max_concurrency": self.max_concurrency}


OPTIONS: dict[str, ActorKind] = {
    "kubelet": ActorKind(100, "its pods go on; the next one adopts them", stop_order=0),
    "controller": ActorKind(100, "nothing is reconciled until it is back", stop_order=0),
    "dns": ActorKind(100, "names are not answered until it is back", stop_order=0),
    "node": ActorKind(1000, "its pods died with it; the kubelet starts them again", stop_order=1),
    "api-server": ActorKind(100, "clients wait until it is back; watches start again", stop_order=2),
}
