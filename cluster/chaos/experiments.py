"""The shipped experiments, and those in files of a user's own.

An experiment is found by its name (`pod-kill`: library/pod-kill.yaml) or by the path of a file. Its workload is a
manifest beside it, or one of the library's.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import yaml

from petset.cluster.api.objects import Object
from petset.cluster.chaos.experiment import Experiment, ExperimentError, parse_experiment

SUFFIX = ".yaml"
WORKLOAD_SUFFIX = ".workload.yaml"
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
        experiment = parse_experiment(shipped.read_text(), name_or_path)
        return experiment, _workload(_LIBRARY, experiment)
    path = Path(name_or_path)
    if not path.is_file():
        known = ", ".join(library_names())
        raise ExperimentError(f"there is no experiment and no file {name_or_path}; the library has {known}")
    try:
        experiment = parse_experiment(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(f"cannot read {path}: {error}") from error
    beside = (path.parent / experiment.workload).is_file()
    return experiment, _workload(path.parent if beside else _LIBRARY, experiment)


def _workload(folder: Traversable, experiment: Experiment) -> tuple[Object, ...]:
    path = folder / experiment.workload
    if not path.is_file():
        raise ExperimentError(f"{experiment.name}: there is no workload {experiment.workload}")
    try:
        documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
        objects = [item for document in documents for item in document.get("items", [document])]
        if all(isinstance(obj["metadata"], dict) and obj["kind"] for obj in objects):
            return tuple(objects)
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise ExperimentError(f"{experiment.workload}: no Kubernetes objects: {error!r}") from error
    raise ExperimentError(f"{experiment.workload}: an object without metadata or kind")
