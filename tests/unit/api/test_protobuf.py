"""The protobuf decoder: what kubectl sends, and whatever else anybody may send."""

from __future__ import annotations

import base64
import gzip

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petset.cluster.api.protobuf import MAGIC, decode_protobuf, load_messages
from petset.cluster.api.schema import load_schemas
from petset.cluster.errors import BadRequest


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(*fields: tuple[int, int | bytes | str]) -> bytes:
    """A message from (number, value); whole numbers become varints."""
    raw = b""
    for number, value in fields:
        if isinstance(value, int):
            raw += varint(number << 3) + varint(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            raw += varint(number << 3 | 2) + varint(len(content)) + content
    return raw


def enveloped(api_version: str, kind: str, raw: bytes) -> bytes:
    type_meta = message((1, api_version), (2, kind))
    return MAGIC + message((1, type_meta), (2, raw), (3, ""), (4, ""))


def pod(spec: bytes) -> bytes:
    return enveloped("v1", "Pod", message((1, message((1, "a"))), (2, spec), (3, b"")))


def decoded_container(*fields: tuple[int, int | bytes | str]) -> object:
    return decode_protobuf(pod(message((2, message((1, "main"), *fields)))))["spec"]["containers"][0]


class TestValues:
    def test_a_map_keeps_its_empty_values(self) -> None:
        entries = [(2, message((1, "x"), (2, "1"))), (2, message((1, "empty")))]
        body = enveloped("v1", "ConfigMap", message((1, message((1, "a"), (8, b""))), *entries))
        assert decode_protobuf(body) == {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1", "empty": ""},
        }  # fmt: skip

    def test_bytes_are_base64(self) -> None:
        body = enveloped("v1", "Secret", message((2, message((1, "k"), (2, b"\xff\x00")))))
        assert decode_protobuf(body)["data"] == {"k": base64.b64encode(b"\xff\x00").decode()}

    @pytest.mark.parametrize(
        ("raw", "expected"),
        [
            pytest.param(message((1, 0), (2, 80), (3, "")), 80, id="a number"),
            pytest.param(message((1, 1), (2, 0), (3, "http")), "http", id="a name"),
            pytest.param(message((1, 0), (2, -1)), -1, id="a negative number"),
        ],
    )
    def test_int_or_string(self, raw: bytes, expected: object) -> None:
        port = message((3, 80), (4, raw))
        service = enveloped("v1", "Service", message((2, message((1, port)))))
        assert decode_protobuf(service)["spec"]["ports"][0]["targetPort"] == expected

    def test_embedded_structs_stand_in_their_parent(self) -> None:
        source = message((2, message((1, "Memory"))))
        volume = message((1, "data"), (2, source))
        assert decode_protobuf(pod(message((1, volume))))["spec"]["volumes"] == [
            {"name": "data", "emptyDir": {"medium": "Memory"}}
        ]

    def test_a_handler_of_a_probe_stands_in_the_probe(self) -> None:
        probe = message((1, message((2, message((1, "/healthz"))))), (2, 0), (4, 3))
        assert decoded_container((11, probe)) == {
            "name": "main", "readinessProbe": {"httpGet": {"path": "/healthz"}, "periodSeconds": 3},
        }  # fmt: skip

    def test_unset_values_are_absent_and_set_pointers_stay(self) -> None:
        spec = message((3, ""), (4, 0), (11, 0), (2, message((1, "main"), (16, 0))))
        found = decode_protobuf(pod(spec))["spec"]
        assert found == {"terminationGracePeriodSeconds": 0, "containers": [{"name": "main"}]}

    def test_an_empty_storage_class_is_not_an_absent_one(self) -> None:
        body = enveloped("v1", "PersistentVolumeClaim", message((2, message((3, ""), (5, "")))))
        assert decode_protobuf(body)["spec"] == {"storageClassName": ""}

    def test_times_are_rfc_3339(self) -> None:
        meta = message((8, message((1, 1_767_225_600), (2, 5))))
        assert decode_protobuf(enveloped("v1", "Pod", message((1, meta))))["metadata"] == {
            "creationTimestamp": "2026-01-01T00:00:00Z"
        }

    def test_raw_json_is_json(self) -> None:
        body = enveloped("apps/v1", "ControllerRevision", message((2, message((1, b'{"spec":{"a":[1]}}'))), (3, 7)))
        assert decode_protobuf(body)["data"] == {"spec": {"a": [1]}}

    def test_delete_options_of_any_group(self) -> None:
        options = message((1, 0), (2, message((1, "some-uid"))), (4, "Background"), (5, "All"))
        assert decode_protobuf(enveloped("apps/v1", "DeleteOptions", options)) == {
            "apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
            "preconditions": {"uid": "some-uid"}, "propagationPolicy": "Background", "dryRun": ["All"],
        }  # fmt: skip

    def test_unknown_fields_are_skipped(self) -> None:
        assert decoded_container((999, "new"), (998, 1)) == {"name": "main"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "why"),
        [
            pytest.param(b"", "does not begin", id="empty"),
            pytest.param(b"{}", "does not begin", id="JSON"),
            pytest.param(MAGIC, 'no kind ""', id="no envelope"),
            pytest.param(enveloped("v1", "Nothing", b""), 'no kind "Nothing"', id="an unknown kind"),
            pytest.param(enveloped("apps/v1beta1", "Deployment", b""), "apps/v1beta1", id="a version that is gone"),
            pytest.param(enveloped("v1", "Pod", b"\x0a\xff"), "malformed", id="a length that does not end"),
            pytest.param(enveloped("v1", "Pod", b"\x0a\x05abc"), "cut short", id="shorter than it says"),
            pytest.param(enveloped("v1", "Pod", b"\x0b"), "wire type 3", id="a group"),
            pytest.param(enveloped("v1", "Pod", message((1, 7))), "malformed", id="a number for a message"),
            pytest.param(enveloped("v1", "Pod", message((1, message((1, b"\xff"))))), "UTF-8", id="not UTF-8"),
            pytest.param(
                enveloped("v1", "Pod", message((1, message((8, message((1, 1 << 62))))))), "out of range", id="a time"
            ),
            pytest.param(
                enveloped("apps/v1", "ControllerRevision", message((2, message((1, b"{"))))), "not valid", id="bad JSON"
            ),
            pytest.param(MAGIC + message((1, message((1, "v1"), (2, "Pod"))), (4, "gzip")), "encoding", id="encoded"),
        ],
    )
    def test_is_a_bad_request_that_says_why(self, body: bytes, why: str) -> None:
        with pytest.raises(BadRequest, match=why):
            decode_protobuf(body)


KINDS = sorted(load_messages().roots)


@given(kind=st.sampled_from(KINDS), raw=st.binary(max_size=300))
@settings(max_examples=300)
def test_any_bytes_are_an_object_or_a_bad_request(kind: str, raw: bytes) -> None:
    group_version, _, name = kind.rpartition("/")
    try:
        found = decode_protobuf(enveloped(group_version.strip("/"), name, raw))
    except BadRequest:
        return
    assert orjson.loads(orjson.dumps(found)) == found


@given(data=st.data(), kind=st.sampled_from(KINDS))
@settings(max_examples=200)
def test_well_formed_messages_of_every_kind_are_read(data: st.DataObject, kind: str) -> None:
    """Random fields of the right types, nested three deep, decode to JSON with the names of the table."""
    group_version, _, name = kind.rpartition("/")
    raw = data.draw(messages_of(load_messages().roots[kind], levels=3))
    found = decode_protobuf(enveloped(group_version.strip("/"), name, raw))
    assert orjson.loads(orjson.dumps(found)) == found


def messages_of(name: str, levels: int) -> st.SearchStrategy[bytes]:
    fields = load_messages().fields[name]
    parts = [
        value_of(field.type, field.form, levels).map(lambda value, number=number: message((number, value)))
        for number, field in fields.items()
        if not field.type.endswith((".RawExtension", ".FieldsV1"))
    ]
    return st.lists(st.one_of(parts), max_size=4).map(b"".join) if parts and levels else st.just(b"")


def value_of(type_: str, form: str, levels: int) -> st.SearchStrategy[int | bytes]:
    if form == "map":
        value = value_of(type_, "one", levels)
        return st.tuples(st.text(max_size=3), value).map(lambda pair: message((1, pair[0]), (2, pair[1])))
    if type_ in ("int", "bool"):
        return st.integers(min_value=-(1 << 40), max_value=1 << 40) if type_ == "int" else st.integers(0, 1)
    if type_ == "string":
        return st.text(max_size=5).map(str.encode)
    if type_ == "bytes":
        return st.binary(max_size=5)
    if type_.endswith((".Time", ".MicroTime")):
        return st.integers(0, 1 << 32).map(lambda seconds: message((1, seconds)))
    return messages_of(type_, levels - 1)


class TestTable:
    def test_every_name_is_one_of_the_definitions(self) -> None:
        """A field name that the official schema lacks would be stored under a wrong name."""
        definitions, table = load_schemas().definitions, load_messages().fields
        wrong = [
            (message_name, field.name)
            for message_name, fields in table.items()
            if (known := definitions.get(message_name.replace("k8s.io.", "io.k8s.", 1), {}).get("properties"))
            for field in fields.values()
            if field.form != "inline" and field.name not in known
        ]
        assert wrong == []

    def test_every_type_is_in_it(self) -> None:
        table = load_messages().fields
        scalars = {"string", "bytes", "bool", "int", "double"}
        assert {f.type for fields in table.values() for f in fields.values()} - scalars <= table.keys()

    def test_is_small(self) -> None:
        from importlib.resources import files

        raw = (files("petset.cluster.api") / "protobuf_messages.json").read_bytes()
        assert len(gzip.compress(raw)) < 20_000
