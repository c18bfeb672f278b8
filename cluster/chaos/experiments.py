"""The shipped experiments, and those in files of a user's own.

An experiment is found by its name (`pod-kill`: library/pod-kill.yaml) or by the path of a file. Its workload is a
manifest beside it, or one of the library's.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import yaml

from petset.cluster.api.kinds import BUILT_IN
from petset.cluster.api.objects import Object
from petset.cluster.chaos.experiment import Experiment, ExperimentError, parse_experiment
from petset.cluster.chaos.faults import YAML_ERRORS

SUFFIX = ".yaml"
WORKLOAD_SUFFIX = ".workload.yaml"
CLUSTER_SCOPED = frozenset(kind.kind for kind in BUILT_IN if not kind.namespaced)
_LIBRARY = files("petset") / "cluster" / "chaos" / "library"


def library_names() -> list[str]:
    """The names of the shipped experiments."""
    found = (each.name for each in _LIBRARY.iterdir())
    return sorted(
        name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX) and not name.endswith(WORKLOAD_SUFFIX)
    )


def load_experiment(name_or_path: str) -> tuple[Experiment, tuple[Object, ...]]:
    """An experiment and its workload's objects. Raises ExperimentError."""
    shipped = _LIBRARY / (name_or_path + SUFFIX)
    if name_or_path in library_names():
        experiment = parse_experiment(shipped.read_text("utf-8"), name_or_path)
        return experiment, _workload(_LIBRARY, experiment)
    path = Path(name_or_path)
    try:
        if not path.is_file():
            known = ", ".join(library_names())
            raise ExperimentError(f"there is no experiment and no file {name_or_path}; the library has {known}")
        experiment = parse_experiment(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(f"cannot read {path}: {error}") from error
    beside = (path.parent / experiment.workload).is_file()
    return experiment, _workload(path.parent if beside else _LIBRARY, experiment)


def _workload(folder: Traversable, experiment: Experiment) -> tuple[Object, ...]:
    """Objects of one namespace: what belongs to none would be left behind."""
    name, path = experiment.workload, folder / experiment.workload
    if not path.is_file():
        raise ExperimentError(f"{experiment.name}: there is no workload {name}")
    try:
        documents = [document for document in yaml.safe_load_all(path.read_text("utf-8")) if document]
        objects = [item for document in documents for item in document.get("items", [document])]
        fit = all(isinstance(obj["metadata"], dict) and isinstance(obj["kind"], str) for obj in objects)
    except OSError as error:
        raise ExperimentError(f"cannot read {path}: {error}") from error
    except (*YAML_ERRORS, AttributeError, KeyError, TypeError) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise ExperimentError(f"{name}: no Kubernetes objects: {what}") from error
    if not objects or not fit:
        raise ExperimentError(f"{name}: {'an object without metadata or kind' if objects else 'it is empty'}")
    if strangers := [obj["kind"] for obj in objects if obj["kind"] in CLUSTER_SCOPED]:
        raise ExperimentError(f"{name}: a {strangers[0]} belongs to no namespace, and would be left behind")
    return tuple(objects)
