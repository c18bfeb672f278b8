"""The registry: one row per kind that the API serves. Everything generic is driven from it.

Paths, discovery, subresources and generation rules come from these rows; schemas and patch strategies come from the
official definitions (schema.py). Adding a kind is adding a row; there is no handler per kind.

    ACTING    kinds that something in petset acts upon
    KEPT      kinds that are stored and served, so that manifests and charts apply, and that nothing acts upon
    VIEWS     further versions of kinds above: the same objects, converted (versions.py)
    REVIEWS   questions that are answered and never stored (apiserver/reviews.py)
    MEASURED  what is found out when somebody asks (apiserver/metrics.py, component_statuses.py)

CustomResourceDefinitions add rows while a cluster runs: `Registry.extra` is asked for them at every look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from petset.cluster.api.custom_kinds import CustomKind
from petset.cluster.errors import NotFound


@dataclass(frozen=True)
class Kind:
    """One served kind. `generation` says whether a change of spec counts `metadata.generation` up.

    `status` and `scale` name the subresources it has; `others` lists further ones, which have code of their own.
    `storage` is the apiVersion in which objects are stored, when that is another. A kind that is not `stored` can only
    be created, and its creation is answered at once, unless `verbs` names others. `custom` is what a
    CustomResourceDefinition says of its kind.
    """

    group: str
    version: str
    kind: str
    plural: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    status: bool = False
    scale: bool = False
    generation: bool = False
    others: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    storage: str = ""
    stored: bool = True
    verbs: tuple[str, ...] = ()
    custom: CustomKind | None = field(default=None, compare=False, repr=False)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.custom.singular if self.custom else self.kind.lower()

    @property
    def rules(self) -> str:
        """The name under which the built-in rules of a kind are found; a custom kind of the same name has none."""
        return "" if self.custom else self.kind

    @property
    def list_kind(self) -> str:
        return self.custom.list_kind if self.custom else f"{self.kind}List"

    @property
    def resource(self) -> str:
        """`plural.group`, as errors and the store name it (`pods` in the core group)."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def stored_as(self) -> str:
        """The resource under which objects are stored: another one for a view of another group."""
        group = self.storage.rpartition("/")[0] if self.storage else self.group
        return f"{self.plural}.{group}" if group else self.plural

    @property
    def root(self) -> str:
        """The path of the group and version."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of a collection, an object or a subresource."""
        parts = [self.root]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


ALL = ("all",)

ACTING: tuple[Kind, ...] = (
    Kind("", "v1", "Namespace", "namespaces", ("ns",), namespaced=False, status=True, others=("finalize",)),
    Kind("", "v1", "Node", "nodes", ("no",), namespaced=False, status=True),
    Kind("", "v1", "Pod", "pods", ("po",), status=True, generation=True, categories=ALL,
         others=("attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy")),
    Kind("", "v1", "ReplicationController", "replicationcontrollers", ("rc",), status=True, scale=True, generation=True,
         categories=ALL),
    Kind("", "v1", "Service", "services", ("svc",), status=True, others=("proxy",), categories=ALL),
    Kind("", "v1", "Endpoints", "endpoints", ("ep",)),
    Kind("", "v1", "PersistentVolume", "persistentvolumes", ("pv",), namespaced=False, status=True),
    Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", ("pvc",), status=True),
    Kind("", "v1", "ConfigMap", "configmaps", ("cm",)),
    Kind("", "v1", "Secret", "secrets"),
    Kind("", "v1", "ServiceAccount", "serviceaccounts", ("sa",), others=("token",)),
    Kind("", "v1", "Event", "events", ("ev",)),
    Kind("apps", "v1", "Deployment", "deployments", ("deploy",), status=True, scale=True, generation=True,
         categories=ALL),
    Kind("apps", "v1", "ReplicaSet", "replicasets", ("rs",), status=True, scale=True, generation=True, categories=ALL),
    Kind("apps", "v1", "StatefulSet", "statefulsets", ("sts",), status=True, scale=True, generation=True,
         categories=ALL),
    Kind("apps", "v1", "ControllerRevision", "controllerrevisions"),
    Kind("coordination.k8s.io", "v1", "Lease", "leases"),
    Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", generation=True),
    Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", ("pdb",), status=True, generation=True),
    Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", ("sc",), namespaced=False),
)  # fmt: skip


_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
_FLOW = "flowcontrol.apiserver.k8s.io"
_EXTENSIONS = ("api-extensions",)

KEPT: tuple[Kind, ...] = (
    Kind("", "v1", "LimitRange", "limitranges", ("limits",)),
    Kind("", "v1", "PodTemplate", "podtemplates"),
    Kind("", "v1", "ResourceQuota", "resourcequotas", ("quota",), status=True),
    Kind("apiregistration.k8s.io", "v1", "APIService", "apiservices", namespaced=False, status=True,
         categories=_EXTENSIONS),
    Kind("apps", "v1", "DaemonSet", "daemonsets", ("ds",), status=True, generation=True, categories=ALL),
    Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", ("hpa",), status=True,
         categories=ALL),
    Kind("batch", "v1", "CronJob", "cronjobs", ("cj",), status=True, generation=True, categories=ALL),
    Kind("batch", "v1", "Job", "jobs", status=True, generation=True, categories=ALL),
    Kind("certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests", ("csr",),
         namespaced=False, status=True, others=("approval",)),
    Kind("networking.k8s.io", "v1", "Ingress", "ingresses", ("ing",), status=True, generation=True),
    Kind("networking.k8s.io", "v1", "IngressClass", "ingressclasses", namespaced=False, generation=True),
    Kind("networking.k8s.io", "v1", "IPAddress", "ipaddresses", ("ip",), namespaced=False),
    Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", ("netpol",), generation=True),
    Kind("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs", namespaced=False, status=True),
    Kind(_RBAC, "v1", "ClusterRole", "clusterroles", namespaced=False),
    Kind(_RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    Kind(_RBAC, "v1", "Role", "roles"),
    Kind(_RBAC, "v1", "RoleBinding", "rolebindings"),
    Kind("storage.k8s.io", "v1", "CSIDriver", "csidrivers", namespaced=False),
    Kind("storage.k8s.io", "v1", "CSINode", "csinodes", namespaced=False),
    Kind("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities"),
    Kind("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", namespaced=False, status=True),
    Kind(_ADMISSION, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", namespaced=False,
         generation=True, categories=_EXTENSIONS),
    Kind(_ADMISSION, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", namespaced=False, status=True,
         generation=True, categories=_EXTENSIONS),
    Kind(_ADMISSION, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", namespaced=False,
         generation=True, categories=_EXTENSIONS),
    Kind(_ADMISSION, "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", namespaced=False,
         generation=True, categories=_EXTENSIONS),
    Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", ("crd", "crds"),
         namespaced=False, status=True, generation=True, categories=_EXTENSIONS),
    Kind("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", ("pc",), namespaced=False, generation=True),
    Kind("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", namespaced=False),
    Kind(_FLOW, "v1", "FlowSchema", "flowschemas", namespaced=False, status=True, generation=True),
    Kind(_FLOW, "v1", "PriorityLevelConfiguration", "prioritylevelconfigurations", namespaced=False, status=True,
         generation=True),
)  # fmt: skip

VIEWS: tuple[Kind, ...] = (
    Kind("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers", ("hpa",), status=True,
         categories=ALL, storage="autoscaling/v2"),
    Kind("events.k8s.io", "v1", "Event", "events", ("ev",), storage="v1"),
)  # fmt: skip

REVIEWS: tuple[Kind, ...] = (
    Kind("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", namespaced=False, stored=False),
    Kind("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", namespaced=False, stored=False),
    Kind("authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", stored=False),
    Kind("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", namespaced=False,
         stored=False),
    Kind("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", namespaced=False,
         stored=False),
    Kind("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False, stored=False),
)  # fmt: skip

MEASURED: tuple[Kind, ...] = (
    Kind("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes", namespaced=False, stored=False, verbs=("get", "list")),
    Kind("metrics.k8s.io", "v1beta1", "PodMetrics", "pods", stored=False, verbs=("get", "list")),
    Kind("", "v1", "ComponentStatus", "componentstatuses", ("cs",), namespaced=False, stored=False,
         verbs=("get", "list")),
)  # fmt: skip

BUILT_IN = ACTING + KEPT
"""Every stored kind, once: what garbage collection and the end of a namespace are about."""


def _no_more() -> tuple[Kind, ...]:
    return ()


class Registry:
    """Finds rows by kind, by path and by group. The order of rows is the order of discovery.

    `extra` answers the rows that exist beside the built-in ones at that moment; built-in ones win.
    """

    def __init__(
        self,
        kinds: Iterable[Kind] = BUILT_IN + VIEWS + REVIEWS + MEASURED,
        extra: Callable[[], tuple[Kind, ...]] = _no_more,
    ) -> None:
        self._built_in = tuple(kinds)
        self._extra = extra
        self._by_kind = {kind.kind: kind for kind in reversed(self._built_in)}
        self._by_path = {(kind.group, kind.version, kind.plural): kind for kind in self._built_in}

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Every row there is now."""
        return self._built_in + self._extra()

    def of_kind(self, kind: str) -> Kind:
        """The (preferred) row of a kind, e.g. `"Pod"`. Raises NotFound."""
        if found := self._by_kind.get(kind):
            return found
        if found := next((each for each in self._extra() if each.kind == kind), None):
            return found
        raise NotFound(f'no matches for kind "{kind}"')

    def at_path(self, group: str, version: str, plural: str) -> Kind:
        """The row of a path's group, version and plural. Raises NotFound as Kubernetes words it."""
        wanted = (group, version, plural)
        if found := self._by_path.get(wanted):
            return found
        if found := next((each for each in self._extra() if (each.group, each.version, each.plural) == wanted), None):
            return found
        raise NotFound("the server could not find the requested resource")

    def group_versions(self) -> list[tuple[str, str]]:
        """Every (group, version), the core group first, without repetition."""
        return list(dict.fromkeys((kind.group, kind.version) for kind in self.kinds))
