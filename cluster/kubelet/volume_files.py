"""The files of ConfigMaps, Secrets, the downward API and tokens, as a pod's volumes show them (pure).

    volume source ─▶ needed (objects, tokens) ─▶ the kubelet fetches them ─▶ files_of ─▶ path -> content, and modes

`items` choose and rename keys and may give each its own mode; `optional` sources that are missing have no files
(pkg/volume/configmap, secret, downwardapi, projected). Left out: clusterTrustBundle, podCertificate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from petset.cluster.api.objects import Object
from petset.cluster.kubelet.downward import ConfigError, PodFacts, field_value, resource_field
from petset.cluster.kubelet.environment import Sources, data_of

DEFAULT_MODE = 0o644
DEFAULT_TOKEN_SECONDS = 3600
TOKEN = "Token"
"""The kind under which `Sources` hold tokens; their names are those of `TokenWish`."""

_OBJECTS = {"configMap": ("ConfigMap", "name"), "secret": ("Secret", "secretName")}
_SOURCES = (*_OBJECTS, "downwardAPI", "projected")


@dataclass(frozen=True)
class Needed:
    """An object of the pod's namespace that the pod refers to."""

    kind: str
    name: str


@dataclass(frozen=True)
class TokenWish:
    """A token of the pod's ServiceAccount that a volume shows; "" is the API server's own audience."""

    account: str
    audience: str
    seconds: int

    @property
    def name(self) -> str:
        return f"{self.audience}/{self.seconds}"


@dataclass(frozen=True)
class Files:
    """Contents by relative path; `modes` of the files whose item names one."""

    contents: Mapping[str, bytes] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)

    def with_all_of(self, other: Files) -> Files:
        return Files({**self.contents, **other.contents}, {**self.modes, **other.modes})


def shows_files(volume: Object) -> bool:
    """Whether a volume of a pod has files of the API server's: its content follows them while the pod runs."""
    return any(volume.get(kind) is not None for kind in _SOURCES)


def default_mode(volume: Object) -> int:
    """The mode of the files whose item names none."""
    mode = next(volume[kind].get("defaultMode") for kind in _SOURCES if volume.get(kind) is not None)
    return DEFAULT_MODE if mode is None else int(mode)


def needed_by(volume: Object) -> list[Needed]:
    """The ConfigMaps and Secrets of a volume, in order."""
    return [
        Needed(kind, _name_in(source[field], name_field))
        for source in _single_sources(volume)
        for field, (kind, name_field) in _OBJECTS.items()
        if source.get(field) is not None
    ]


def tokens_needed(pod: Object) -> list[TokenWish]:
    """The tokens of all volumes of a pod, each once."""
    account = pod["spec"].get("serviceAccountName") or "default"
    wishes = [
        _wish(account, source["serviceAccountToken"])
        for volume in pod["spec"].get("volumes") or ()
        for source in _single_sources(volume)
        if source.get("serviceAccountToken") is not None
    ]
    return list(dict.fromkeys(wishes))


def files_of(pod: Object, volume: Object, sources: Sources, facts: PodFacts) -> Files:
    """All files of a volume; of two for one path the later source's stays. Raises ConfigError."""
    files = Files()
    for source in _single_sources(volume):
        files = files.with_all_of(_files(pod, source, sources, facts))
    return files


def _single_sources(volume: Object) -> list[Object]:
    if volume.get("projected") is not None:
        return list(volume["projected"].get("sources") or ())
    return [volume]


def _files(pod: Object, source: Object, sources: Sources, facts: PodFacts) -> Files:
    for field_name, (kind, name_field) in _OBJECTS.items():
        if source.get(field_name) is not None:
            name = _name_in(source[field_name], name_field)
            return _content(kind, name, source[field_name], sources)
    if source.get("downwardAPI") is not None:
        items = source["downwardAPI"].get("items") or ()
        return Files({each["path"]: _downward(pod, each, facts).encode() for each in items}, _modes(items))
    if source.get("serviceAccountToken") is not None:
        return _token(pod, source["serviceAccountToken"], sources)
    raise ConfigError(f"no volume plugin matched ({', '.join(sorted(set(source) - {'name'})) or 'nothing'})")


def _content(kind: str, name: str, source: Object, sources: Sources) -> Files:
    obj, optional = sources.get((kind, name)), bool(source.get("optional"))
    if obj is None:
        if optional:
            return Files()
        raise ConfigError(f'{kind.lower()} "{name}" not found')
    data, items = data_of(obj), source.get("items") or ()
    if not items:
        return Files(data)
    missing = [each["key"] for each in items if each["key"] not in data]
    if missing and not optional:
        raise ConfigError(f"references non-existent {kind.lower()} key: {missing[0]}")
    present = [each for each in items if each["key"] in data]
    return Files({each["path"]: data[each["key"]] for each in present}, _modes(present))


def _token(pod: Object, source: Object, sources: Sources) -> Files:
    wish = _wish(pod["spec"].get("serviceAccountName") or "default", source)
    request = sources.get((TOKEN, wish.name))
    if request is None:
        raise ConfigError(f'failed to fetch token: serviceaccounts "{wish.account}" not found')
    return Files({source["path"]: str(request["status"]["token"]).encode()})


def _wish(account: str, source: Object) -> TokenWish:
    seconds = int(source.get("expirationSeconds") or DEFAULT_TOKEN_SECONDS)
    return TokenWish(account, source.get("audience") or "", seconds)


def _downward(pod: Object, item: Object, facts: PodFacts) -> str:
    if "fieldRef" in item:
        return field_value(pod, item["fieldRef"]["fieldPath"], facts)
    return resource_field(pod, item["resourceFieldRef"], facts=facts)


def _modes(items: list[Object] | tuple[Object, ...]) -> dict[str, int]:
    return {each["path"]: int(each["mode"]) for each in items if each.get("mode") is not None}


def _name_in(source: Object, name_field: str) -> str:
    return str(source.get(name_field) or source.get("name") or "")
