"""A cluster that faults can be done to: components that write down what is asked of them, machines that list pods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from petset.cluster.api.cri import ContainerStatus, SandboxStatus
from petset.cluster.chaos.errors import CannotHere
from petset.cluster.chaos.wiring import Wiring, Work, no_namespaces
from petset.cluster.network.addresses import OWN_PLAN, AddressPlan, loopback_plan


class FakeComponent:
    """`said` holds every call in order; calls of what `refuses` names raise CannotHere.

    `answers` are those of the methods that it is ordered to call.
    """

    has_process = True

    def __init__(self, name: str, said: list[tuple[str, ...]]) -> None:
        self.name = name
        self.process_id = 0
        self.refuses: set[str] = set()
        self.answers: dict[str, str] = {}
        self._said = said

    async def kill(self) -> None:
        self._say("kill")

    async def freeze(self, reason: str) -> None:
        self._say("freeze", reason)

    async def thaw(self, reason: str) -> None:
        self._say("thaw", reason)

    async def hold_down(self, reason: str) -> None:
        self._say("hold down", reason)

    async def let_up(self, reason: str) -> None:
        self._say("let up", reason)

    async def order(self, key: str, method: str, *arguments: Any) -> Any:
        self._say("order", key, method, *map(str, arguments))
        return self.answers.get(method)

    async def recall(self, key: str, method: str, *arguments: Any) -> None:
        self._say("recall", key, method, *map(str, arguments))

    async def ask(self, method: str, *arguments: Any) -> Any:
        self._say("ask", method, *map(str, arguments))

    def _say(self, what: str, *more: str) -> None:
        if what in self.refuses:
            raise CannotHere(f"{self.name} is not up")
        self._said.append((self.name, what, *more))


class FakeWorld:
    """Two nodes, both on one further Ray node.

    `said` holds what was asked of components and cables; `pods` what runs on which node.
    """

    def __init__(self, *, has_namespaces: bool = True) -> None:
        self.said: list[tuple[str, ...]] = []
        self.pods: dict[str, list[SandboxStatus]] = {"node-1": [], "node-2": []}
        self.has_namespaces = has_namespaces
        self.network_refuses = False
        names = ("api-server", "controller", "dns", *self.pods, "kubelet-1", "kubelet-2", "ray-node-2")
        self.components = {name: FakeComponent(name, self.said) for name in names}
        self.wiring = Wiring(self._on_network if has_namespaces else no_namespaces)

    @property
    def addresses(self) -> AddressPlan:
        return OWN_PLAN if self.has_namespaces else loopback_plan(0)

    @property
    def node_names(self) -> Sequence[str]:
        return [*self.pods]

    def machines(self, component: str) -> Sequence[str]:
        return [*self.pods] if component == "ray-node-2" else [each for each in self.pods if each == component]

    async def sandboxes(self, node: str) -> Sequence[SandboxStatus]:
        return self.pods[node]

    def run_pod(self, name: str, pid: int, *, node: str = "node-1", created_at: float = 1.0, number: int = 2) -> None:
        """A pod of one container on a machine."""
        container = ContainerStatus(f"{name}-id", "main", "image", "image-id", 0, "running", pid, created_at)
        address = f"10.244.{node[-1]}.{number}"
        self.pods[node].append(SandboxStatus(f"{name}-{node}-uid", "default", name, address, created_at, (container,)))

    async def volume_of(self, namespace: str, claim: str) -> str:
        return f"kubernetes.io/host-path/{namespace}-{claim}"

    async def _on_network(self, work: Work) -> None:
        work(_FakeFaults(self))  # type: ignore[arg-type]  # it has the methods of Faults


class _FakeFaults:
    def __init__(self, world: FakeWorld) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:
        def say(*arguments: object, **more: object) -> None:
            if self._world.network_refuses and not name.startswith("heal"):
                raise OSError("this kernel is built without it")
            self._world.said.append(("network", name, *map(str, arguments), *(f"{k}={v}" for k, v in more.items())))

        return say
