"""Image references and the patterns that match them (pure).

    registry.example:5000/team/pet:v1@sha256:…  ─▶  registry.example:5000, team/pet, v1

References follow the grammar of Docker's distribution project. Docker Hub's `library/` is left out of repositories, so
`nginx` is `docker.io/library/nginx:latest`. A pattern is `[registry/]repository[:tag]`, with `*` as in file names;
without a registry any will do, without a tag any will do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from petset.cluster.api.cri import ImageNotFound

_DOMAIN_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?P<registry>{_DOMAIN_LABEL}(?:\.{_DOMAIN_LABEL})*(?::[0-9]+)?)/)?"
    rf"(?P<repository>{_PATH_PART}(?:/{_PATH_PART})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>[A-Za-z][A-Za-z0-9.+_-]*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Reference:
    """An image reference with its defaults filled in."""

    registry: str
    repository: str
    tag: str


def parse_reference(text: str) -> Reference:
    """Raises ImageNotFound, in the kubelet's words, for what is no image reference."""
    found = _REFERENCE.fullmatch(text)
    if found is None or len(found["repository"]) > 255:
        case = _REFERENCE.fullmatch(text.lower()) is not None and text != text.lower()
        hint = ": repository name must be lowercase" if case else ""
        raise ImageNotFound(
            f'InvalidImageName: couldn\'t parse image reference "{text}": invalid reference format{hint}'
        )
    registry, repository = found["registry"] or "", found["repository"]
    if registry and not _is_registry(registry):
        registry, repository = "", f"{registry}/{repository}"
    return Reference(
        registry=registry or "docker.io",
        repository=repository.removeprefix("library/") if registry in ("", "docker.io") else repository,
        tag=found["tag"] or "latest",
    )


def matches(pattern: str, reference: Reference) -> bool:
    """Whether a pattern means this image."""
    head, _, tail = pattern.rpartition("/")
    last, _, tag = tail.partition(":")
    wanted = f"{head}/{last}" if head else last
    full = f"{reference.registry}/{reference.repository}"
    named = full if _is_registry(wanted.partition("/")[0]) and "/" in wanted else reference.repository
    return fnmatchcase(named, wanted) and (not tag or fnmatchcase(reference.tag, tag))


def _is_registry(first_part: str) -> bool:
    """Docker's rule for telling `localhost:5000/pet` from `luksa/pet`."""
    return any(sign in first_part for sign in ".:") or first_part == "localhost" or first_part != first_part.lower()
