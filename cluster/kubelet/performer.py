"""Carries out what the pod machine asks of the node: one effect at a time, answered with a result."""

from __future__ import annotations

from dataclasses import dataclass

from petset.cluster.api.cri import (
    ContainerSpec,
    CreationFailure,
    ImageNotFound,
    MountFailure,
    RuntimeFailure,
    SandboxStatus,
    Volume,
)
from petset.cluster.api.objects import Object, namespace_of, uid_of
from petset.cluster.errors import ApiError
from petset.cluster.kubelet.attachments import NotAttached
from petset.cluster.kubelet.downward import ConfigError
from petset.cluster.kubelet.effects import (
    DisksAwaited,
    HookEnded,
    ImageFailed,
    ImagePulled,
    MachineSilent,
    ProbeEnded,
    PullImage,
    RemoveSandbox,
    Result,
    RunHook,
    RunProbe,
    RunSandbox,
    SandboxDelayed,
    SandboxReady,
    SandboxRemoved,
    Signal,
    Signalled,
    StartContainer,
    Started,
    StartFailed,
)
from petset.cluster.kubelet.environment import container_spec
from petset.cluster.kubelet.facts import every_container
from petset.cluster.kubelet.handlers import Target
from petset.cluster.kubelet.non_root import refuse_root
from petset.cluster.kubelet.parts import Parts
from petset.cluster.kubelet.probes import FIELDS, probe_number
from petset.cluster.kubelet.sandboxes import sandbox_spec, with_container
from petset.cluster.kubelet.volumes import VolumeNotReady, check_reachable, pod_volumes

Step = RunSandbox | PullImage | StartContainer | Signal | RemoveSandbox


@dataclass(frozen=True)
class Done:
    """What came of an effect, the sandbox as it is known now, and the volumes with files that it was made with."""

    result: Result
    sandbox: SandboxStatus | None
    files: tuple[Volume, ...] = ()


class Performer:
    """Acts for all pods of one kubelet."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def perform(self, pod: Object, sandbox: SandboxStatus | None, step: Step) -> Done:
        """Failures are results too; nothing is raised that the node, the API server or a manifest can cause."""
        try:
            return await self._perform(pod, sandbox, step)
        except ApiError as error:
            return Done(MachineSilent(str(error)), sandbox)

    async def _perform(self, pod: Object, sandbox: SandboxStatus | None, step: Step) -> Done:
        runtime = self._parts.runtime
        match step:
            case RunSandbox():
                return await self._run_sandbox(pod, sandbox)
            case PullImage():
                return Done(await self._pull(container_of(pod, step.container), step), sandbox)
            case StartContainer():
                return await self._start(pod, sandbox, step)
            case Signal():
                await runtime.signal_container(step.container_id, step.signal)
                return Done(Signalled(step.container, step.container_id, step.signal), sandbox)
            case RemoveSandbox():
                await runtime.remove_sandbox(uid_of(pod))
                await self._parts.attachments.release(uid_of(pod))
                return Done(SandboxRemoved(), None)

    async def run_probe(self, pod: Object, sandbox: SandboxStatus, effect: RunProbe) -> Result:
        container = container_of(pod, effect.container)
        probe = container[FIELDS[effect.kind]]
        target = Target(container, effect.container_id, sandbox.ip)
        timeout_seconds = float(probe_number(probe, "timeoutSeconds"))
        handler = {key: value for key, value in probe.items() if isinstance(value, dict)}
        try:
            error = await self._parts.handlers.run(handler, target, timeout_seconds=timeout_seconds)
        except ApiError:
            return ProbeEnded(effect.container, effect.container_id, effect.kind, None)
        return ProbeEnded(effect.container, effect.container_id, effect.kind, not error, error)

    async def run_hook(self, pod: Object, sandbox: SandboxStatus, effect: RunHook) -> Result:
        container = container_of(pod, effect.container)
        target = Target(container, effect.container_id, sandbox.ip)
        handler = container["lifecycle"][effect.hook]
        try:
            error = await self._parts.handlers.run(handler, target, timeout_seconds=effect.seconds)
        except ApiError as failure:
            error = str(failure)
        return HookEnded(effect.container, effect.container_id, effect.hook, error)

    async def _run_sandbox(self, pod: Object, sandbox: SandboxStatus | None) -> Done:
        try:
            sources = await self._parts.sources.for_volumes(pod)
            check_reachable(sources, self._parts.attachments.node)
            volumes = pod_volumes(pod, sources, self._parts.facts_of(pod, None))
            await self._parts.attachments.hold(uid_of(pod), volumes)
            spec = sandbox_spec(pod, self._parts.config, volumes)
            made = await self._parts.runtime.run_sandbox(spec)
            return Done(SandboxReady(), made, tuple(each for each in volumes if each.kind == "files"))
        except (VolumeNotReady, MountFailure) as error:
            return Done(SandboxDelayed("FailedMount", str(error)), sandbox)
        except NotAttached as error:
            return Done(DisksAwaited(str(error)), sandbox)
        except RuntimeFailure as error:
            return Done(SandboxDelayed("FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}"), sandbox)

    async def _pull(self, container: Object, step: PullImage) -> Result:
        reference, policy = container["image"], container.get("imagePullPolicy", "IfNotPresent")
        if policy != "Always" and reference in self._parts.images:  # should it be gone, the start says so
            return ImagePulled(step.container, step.attempt, fetched=False)
        begun = self._parts.clock.now()
        try:
            image = await self._parts.runtime.pull_image(reference)
        except (ImageNotFound, RuntimeFailure) as error:
            return ImageFailed(step.container, str(error))
        self._parts.images[reference] = image
        return ImagePulled(step.container, step.attempt, self._parts.clock.now() - begun, policy != "Never")

    async def _start(self, pod: Object, sandbox: SandboxStatus | None, step: StartContainer) -> Done:
        try:
            spec = await self._container_spec(pod, sandbox, step)
            status = await self._parts.runtime.start_container(uid_of(pod), spec)
        except ConfigError as error:
            return Done(StartFailed(step.container, "CreateContainerConfigError", str(error)), sandbox)
        except ImageNotFound as error:
            self._parts.images.pop(container_of(pod, step.container)["image"], None)
            return Done(ImageFailed(step.container, str(error)), sandbox)
        except CreationFailure as error:
            return Done(StartFailed(step.container, error.reason, str(error)), sandbox)
        except RuntimeFailure as error:
            return Done(StartFailed(step.container, "RunContainerError", str(error), step.failed_at), sandbox)
        result = Started(step.container, status.id, step.failed_at)
        return Done(result, with_container(sandbox, status) if sandbox else None)

    async def _container_spec(self, pod: Object, sandbox: SandboxStatus | None, step: StartContainer) -> ContainerSpec:
        """Raises ConfigError."""
        services = [self._api_service()]
        if pod["spec"].get("enableServiceLinks", True):
            services = [*await self._parts.sources.services(namespace_of(pod)), *services]
        container = container_of(pod, step.container)
        spec = container_spec(
            pod,
            container,
            attempt=step.attempt,
            sources=await self._parts.sources.for_containers(pod),
            services=services,
            facts=self._parts.facts_of(pod, sandbox),
        )
        if image := self._parts.images.get(container["image"]):  # unknown, it must be found anew first
            refuse_root(pod, container, image.user)
        return spec

    def _api_service(self) -> Object:
        """The `kubernetes` service, which every pod finds in its environment."""
        port = {"name": "https", "port": self._parts.config.api_port}
        spec = {"clusterIP": self._parts.config.api_address, "ports": [port]}
        return {"metadata": {"name": "kubernetes"}, "spec": spec}


def container_of(pod: Object, name: str) -> Object:
    """The container of that name, of whatever role."""
    return next(each for each in every_container(pod) if each["name"] == name)
