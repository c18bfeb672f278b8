"""The API server without HTTP: every part of it wired over one backend.

`http_server.py` puts it on a socket; `loopback.py` hands it to components in the same process.
"""

from __future__ import annotations

from dataclasses import dataclass

from petset.cluster.api.kinds import Registry
from petset.cluster.api.schema import Schemas
from petset.cluster.apiserver.admission import Admission
from petset.cluster.apiserver.bootstrap import bootstrap
from petset.cluster.apiserver.custom_resources import CustomRows
from petset.cluster.apiserver.deletion import Deletion
from petset.cluster.apiserver.ownership import Ownership
from petset.cluster.apiserver.service_account_tokens import TokenIssuer
from petset.cluster.apiserver.service_addresses import ServiceAddresses
from petset.cluster.apiserver.subresources import Subresources
from petset.cluster.apiserver.verbs import Verbs
from petset.cluster.clock import Clock
from petset.cluster.names import Names
from petset.cluster.network.addresses import AddressPlan
from petset.cluster.store.backend import Backend


@dataclass(frozen=True)
class Api:
    """What the API can do, by the part that does it."""

    registry: Registry
    schemas: Schemas
    backend: Backend
    verbs: Verbs
    deletion: Deletion
    subresources: Subresources
    clock: Clock
    issuer: TokenIssuer | None = None
    """Who makes the tokens of ServiceAccounts; pods of an API without one are given none."""


async def make_api(
    backend: Backend, *,
    schemas: Schemas, clock: Clock, names: Names, addresses: AddressPlan, issuer: TokenIssuer | None = None,
) -> Api:  # fmt: skip
    """Wire the parts and create the objects that every cluster has."""
    registry = Registry(extra=CustomRows(backend))
    service_addresses = ServiceAddresses(backend, addresses)
    admission = Admission(
        backend, clock=clock, names=names, service_addresses=service_addresses, mounts_tokens=issuer is not None
    )
    ownership = Ownership(schemas, clock)
    verbs = Verbs(backend, registry=registry, schemas=schemas, admission=admission, ownership=ownership)
    deletion = Deletion(verbs, clock)
    await bootstrap(verbs, addresses, service_addresses)
    return Api(
        registry=registry,
        schemas=schemas,
        backend=backend,
        verbs=verbs,
        deletion=deletion,
        subresources=Subresources(verbs, deletion, clock),
        clock=clock,
        issuer=issuer,
    )
