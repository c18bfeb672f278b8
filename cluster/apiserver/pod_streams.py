"""The subresources of pods that are streams: log, exec, attach and portforward."""

from __future__ import annotations

import aiohttp
from aiohttp import web

from petset.cluster.api.objects import Object, name_of, namespace_of
from petset.cluster.apiserver.api import Api
from petset.cluster.apiserver.kubelets import Kubelets
from petset.cluster.apiserver.paths import ResourcePath
from petset.cluster.apiserver.pod_requests import container_of, log_query, no_log
from petset.cluster.apiserver.port_forwarding import PortForwarding
from petset.cluster.apiserver.remote_commands import RemoteCommands
from petset.cluster.errors import MethodNotAllowed, NotFound

SUBRESOURCES = ("log", "exec", "attach", "portforward")
PIECE_BYTES = 64 * 1024


class PodStreams:
    """Serves them all from the kubelets that the Nodes tell of."""

    def __init__(self, api: Api, kubelets: Kubelets) -> None:
        self._api = api
        self._kubelets = kubelets
        self._commands = RemoteCommands(self._kubelets)
        self._forwarding = PortForwarding(self._kubelets)

    async def handle(self, request: web.Request, path: ResourcePath) -> web.StreamResponse:
        """Serve one of SUBRESOURCES. Raises ApiError."""
        if request.method not in (("GET",) if path.subresource == "log" else ("GET", "POST")):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        pod = self._api.verbs.get(self._api.registry.of_kind("Pod"), path.namespace, path.name)
        match path.subresource:
            case "log":
                return await self._logs(request, pod)
            case "portforward":
                return await self._forwarding.handle(request, pod)
            case verb:
                return await self._commands.handle(request, pod, verb)

    async def _logs(self, request: web.Request, pod: Object) -> web.StreamResponse:
        container = container_of(pod, request.query.get("container", ""))
        query = log_query(request.query, self._api.clock.now())
        if not pod["spec"].get("nodeName"):  # no log yet is an empty log
            return web.Response(text="")
        path = ("containerLogs", namespace_of(pod), name_of(pod), container)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        try:
            async with self._kubelets.logs(pod, path, query) as text:
                await response.prepare(request)
                async for piece in text.iter_chunked(PIECE_BYTES):
                    await response.write(piece)
        except aiohttp.ClientError as error:
            # The status line is gone already: a connection that breaks is all that can tell the client.
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError(str(error)) from error
        except NotFound as error:
            raise no_log(pod, container, previous=("previous", "true") in query) from error
        await response.write_eof()
        return response
