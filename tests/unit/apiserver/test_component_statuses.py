"""Component statuses: always healthy, selected and shown as Kubernetes shows them."""

from __future__ import annotations

import pytest

from petset.cluster.api.kinds import Registry
from petset.cluster.api.objects import name_of
from petset.cluster.api.tables import columns_for, row_cells
from petset.cluster.apiserver.component_statuses import KIND, component_status, component_statuses
from petset.cluster.apiserver.options import ListOptions
from petset.cluster.errors import NotFound

ROW = Registry().of_kind(KIND)


def test_a_row_as_kubectl_prints_it() -> None:
    shown = component_status(ROW, "scheduler")
    names = [column["name"] for column in columns_for(KIND)]
    assert dict(zip(names, row_cells(KIND, shown, 0.0), strict=True)) == {
        "Name": "scheduler", "Status": "Healthy", "Message": "ok", "Error": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        pytest.param("", ["controller-manager", "etcd-0", "scheduler"], id="all"),
        pytest.param("metadata.name=etcd-0", ["etcd-0"], id="by name"),
    ],
)
def test_the_list(selector: str, names: list[str]) -> None:
    listing = component_statuses(ROW, ListOptions(field_selector=selector))
    assert [name_of(obj) for obj in listing["items"]] == names


def test_another_one_is_not_found() -> None:
    with pytest.raises(NotFound, match='componentstatuses "kubelet" not found'):
        component_status(ROW, "kubelet")
