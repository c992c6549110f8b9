"""Real schema registries: what the serializers of confluent-kafka write kwire reads, and the reverse."""

import base64
import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from interop.brokers import PYTHON
from interop.case import Run, Skip, case
from interop.cases.console_schemas import CUSTOMER, LARGE, LINE, ORDER, Writer
from interop.jars import Missing
from interop.registries import RegistryProcess, apicurio, karapace
from kwire.testing.clusters.nodes import free_ports

USER, PASSWORD = "ana", "se:cret/1"
ADDRESS_SOURCE = 'syntax = "proto3";\npackage shop;\n\nmessage Address {\n  string city = 1;\n}\n'
# Without a map: Karapace makes a list of it, where a descriptor is registered.
PARTY_SOURCE = (
    'syntax = "proto3";\npackage shop;\n\nimport "shop/address.proto";\nimport "google/protobuf/timestamp.proto";\n\n'
    "message First {\n  string text = 1;\n}\n\nmessage Party {\n  string name = 1;\n\n"
    "  message Person {\n    string name = 1;\n    Address home = 2;\n    google.protobuf.Timestamp born = 3;\n"
    "    repeated int64 points = 4;\n  }\n}\n"
)
PERSON = {
    "name": "Åse",
    "home": {"city": "Oslo"},
    "born": "1970-01-01T00:00:01Z",
    "points": [str(LARGE)],
}
ADDRESS_SCHEMA = {
    "title": "Address",
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}


def _with_home(home: dict[str, Any]) -> dict[str, Any]:
    """The schema of a customer with an address."""
    return {**CUSTOMER, "properties": {**CUSTOMER["properties"], "home": home}}


LOCATED = _with_home({"$ref": "address.json"})


@dataclass
class Served:
    """kwire with a registry; a request over HTTP gives the status and the JSON of its answer."""

    bootstrap: str
    control: str

    def patiently(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Ask again where the registry or protoc took longer than kwire waits, as on a busy machine."""
        for _ in range(5):
            status, answer = self.ask(method, path, body)
            if "within 2 s" not in json.dumps(answer):
                break
            time.sleep(11)  # kwire remembers the failure for 10 s
        return status, answer

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.control + path, content, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.load(refusal)

    def decoded(self, topic: str, part: str = "value") -> list[Any]:
        status, records = self.patiently("GET", f"/v1/topics/{quote(topic, safe='')}/records")
        assert status == 200, records
        return [record.get("decoded", {}).get(part) for record in records]

    def texts(self, topic: str, part: str = "value") -> list[Any]:
        found = self.decoded(topic, part)
        assert all(each and "text" in each for each in found), found
        return [json.loads(each["text"]) for each in found]

    def write(self, topic: str, value: object, **choice: object) -> tuple[int, Any]:
        body = {"records": [{"value": value}], "value_schema": choice}
        return self.patiently("POST", f"/v1/topics/{topic}/records", body)


@contextlib.contextmanager
def kwire(run: Run, registry: str) -> Iterator[Served]:
    if run.target != "kwire":
        raise Skip("only kwire has a registry")
    command = [PYTHON, "-P", "-m", "kwire", "serve", "--memory", "--port", "0", "--control", "0", "--stop-at-eof"]
    command += ["--log-level", "warning", "--schema-registry", registry]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as broker:
        assert broker.stdin is not None
        assert broker.stdout is not None
        try:
            addresses = dict(broker.stdout.readline().split() for _ in range(2))
            yield Served(addresses["ready"].partition("://")[2], addresses["control"])
        finally:
            broker.stdin.close()


def protobuf_person() -> tuple[Any, Any]:
    """The class of shop.Party.Person, and a value. The file imports another, and has a message before."""
    import tempfile
    from pathlib import Path

    from google.protobuf import descriptor_pool, json_format, message_factory
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    try:
        from grpc_tools import protoc
    except ImportError:
        raise Missing("grpcio-tools is not installed") from None
    import grpc_tools

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "shop").mkdir()
        (folder / "shop/address.proto").write_text(ADDRESS_SOURCE)
        (folder / "shop/party.proto").write_text(PARTY_SOURCE)
        included = Path(str(grpc_tools.__file__)).parent / "_proto"
        arguments = [
            "protoc",
            f"-I{folder}",
            f"-I{included}",
            "--include_imports",
            f"--descriptor_set_out={folder}/set",
        ]
        assert protoc.main([*arguments, "shop/party.proto"]) == 0
        files = FileDescriptorSet.FromString((folder / "set").read_bytes()).file
    pool = descriptor_pool.Default()
    for file in files:
        if file.name.startswith("shop/"):
            pool.AddSerializedFile(file.SerializeToString())
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Party.Person"))
    return kind, json_format.ParseDict(PERSON, kind())


class Exchange:
    """The serializers of confluent-kafka and kwire on one registry, each reading what the other has written.

    Without ``references`` schemas of Avro and JSON do not refer to others, which Karapace has for Protobuf only.
    """

    def __init__(self, served: Served, url: str, *, references: bool = True, **settings: str) -> None:
        from confluent_kafka.schema_registry import Schema, SchemaReference

        self.served = served
        self._references = references
        self.writer = Writer(served.bootstrap, url, **settings)
        self.registry = self.writer.registry
        self._schema, self._reference = Schema, SchemaReference

    def avro(self) -> None:
        from confluent_kafka.schema_registry import record_subject_name_strategy
        from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer

        order = {"id": LARGE, "status": "PAID", "lines": [{"sku": "tea"}]}
        alone = json.dumps(ORDER).replace('"shop.Line"', json.dumps(LINE), 1)
        serializer = self.writer.avro() if self._references else AvroSerializer(self.registry, alone)
        self.writer.write("orders", serializer, order)
        by_name = AvroSerializer(
            self.registry, json.dumps(LINE), conf={"subject.name.strategy": record_subject_name_strategy}
        )
        self.writer.write("orders", by_name, {"sku": "by its name"})
        assert self.served.texts("orders") == [order, {"sku": "by its name"}]
        self._written("orders", {**order, "status": "OPEN"}, subject="orders-value")
        self._written("orders", {"sku": "coffee"}, subject="shop.Line")
        number = self.registry.get_latest_version("shop.Line").schema_id
        self._written("orders", {"sku": "milk"}, id=number)
        status, answer = self.served.write("orders", {"sku": 5}, subject="shop.Line")
        assert (status, answer) == (400, {"error": f"record 1, value: schema {number}: sku is 5; a text is needed"})
        values = self._read("orders", AvroDeserializer(self.registry))
        assert values[2:] == [{**order, "status": "OPEN"}, {"sku": "coffee"}, {"sku": "milk"}], values

    def protobuf(self) -> None:
        from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer

        kind, value = protobuf_person()
        self.writer.write("people", ProtobufSerializer(kind, self.registry), value)
        (shown,) = self.served.decoded("people")
        assert (shown.get("type"), shown.get("name")) == ("PROTOBUF", "shop.Party.Person"), shown
        assert json.loads(shown["text"]) == PERSON, shown
        # Java's serializers register source; these subjects have that.
        reference = self._reference("shop/address.proto", "address-source", 1)
        self.registry.register_schema("address-source", self._schema(ADDRESS_SOURCE, "PROTOBUF"))
        self.registry.register_schema("party-source", self._schema(PARTY_SOURCE, "PROTOBUF", [reference]))
        for subject in ("people-value", "party-source"):
            self._written("people", PERSON, subject=subject, message="shop.Party.Person")
        texts = self.served.texts("people")
        assert texts == [PERSON] * 3, texts
        status, answer = self.served.write("people", {"nom": "x"}, subject="people-value", message="shop.Party.Person")
        assert status == 400, answer
        assert 'no field named "nom"' in answer["error"], answer
        read = self._read("people", ProtobufDeserializer(kind, {"use.deprecated.format": False}))
        assert read == [value] * 3, read

    def json_schema(self) -> None:
        from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer

        if self._references:
            self.registry.register_schema("address-json", self._schema(json.dumps(ADDRESS_SCHEMA), "JSON"))
            reference = self._reference("address.json", "address-json", 1)
            schema = self._schema(json.dumps(LOCATED), "JSON", [reference])
        else:
            schema = self._schema(json.dumps(_with_home(ADDRESS_SCHEMA)), "JSON")
        customer = {"name": "Ana", "visits": 3, "home": {"city": "Oslo"}}
        self.writer.write("customers", JSONSerializer(schema, self.registry), customer)
        self._written("customers", {**customer, "visits": 4}, subject="customers-value")
        assert self.served.texts("customers") == [customer, {**customer, "visits": 4}]
        status, answer = self.served.write("customers", {"home": {"city": 5}}, subject="customers-value")
        assert status == 400, answer
        assert answer["error"].endswith("home.city: 5 is not of type 'string'"), answer
        read = self._read("customers", JSONDeserializer(schema, schema_registry_client=self.registry))
        assert read == [customer, {**customer, "visits": 4}], read

    def unknown(self) -> None:
        """A schema id, a subject and a version that the registry does not have."""
        content = base64.b64encode(b"\0\0\1\x86\x9fpayload").decode()
        self.served.ask("POST", "/v1/topics", {"name": "unknown", "partitions": 1})
        status, _ = self.served.ask("POST", "/v1/topics/unknown/records", {"records": [{"value": {"base64": content}}]})
        assert status == 201
        (shown,) = self.served.decoded("unknown")
        assert shown["error"].endswith(" does not have it"), shown
        status, answer = self.served.write("unknown", 5, subject="no/such-value")
        assert (status, answer["error"].endswith(" does not have no/such-value/versions/latest")) == (400, True), answer

    def _written(self, topic: str, value: object, **choice: object) -> None:
        status, answer = self.served.write(topic, value, **choice)
        assert status == 201, answer

    def _read(self, topic: str, deserializer: Any) -> list[Any]:
        from confluent_kafka import Consumer
        from confluent_kafka.serialization import MessageField, SerializationContext

        count = len(self.served.decoded(topic))
        consumer = Consumer(
            {
                "bootstrap.servers": self.served.bootstrap,
                "group.id": f"reader-of-{topic}",
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
        )
        consumer.subscribe([topic])
        values = []
        try:
            while len(values) < count:
                message = consumer.poll(30)
                assert message is not None, f"{len(values)} of {count} records of {topic} were read"
                assert message.error() is None, message.error()
                context = SerializationContext(topic, MessageField.VALUE, message.headers())
                values.append(deserializer(message.value(), context))
        finally:
            consumer.close()
        return values


FORMATS: tuple[Callable[[Exchange], None], ...] = (Exchange.avro, Exchange.protobuf, Exchange.json_schema)


@case("schemas", "apicurio")
def serializers_and_kwire_read_each_other_by_apicurio(run: Run) -> None:
    with apicurio(run.folder) as registry, kwire(run, registry.url) as served:
        exchange = Exchange(served, registry.url)
        for of_a_format in (*FORMATS, Exchange.unknown):
            of_a_format(exchange)
        _is_gone(exchange, registry)


@case("schemas", "karapace")
def serializers_and_kwire_read_each_other_by_karapace_on_kwire(run: Run) -> None:
    """Karapace keeps its schemas in a compacted topic of the same kwire, and elects its primary by a group of its."""
    (port,) = free_ports(1)
    with kwire(run, f"http://127.0.0.1:{port}") as served:
        with karapace(run.folder, served.bootstrap, port) as registry:
            exchange = Exchange(served, registry.url, references=False)
            for of_a_format in (*FORMATS, Exchange.unknown):
                of_a_format(exchange)
            # It finds its schemas on kwire again.
            before = exchange.registry.get_latest_version("orders-value").schema_id
            registry.kill()
            registry.start()
            after = Exchange(served, registry.url, references=False)
            assert after.registry.get_latest_version("orders-value").schema_id == before
            _is_gone(after, registry)
        _, topics = served.ask("GET", "/v1/topics")
        assert "_schemas" in topics, topics
        _, groups = served.ask("GET", "/v1/groups")
        assert "schema-registry" in {group["group"] for group in groups}, groups


@case("schemas", "karapace")
def karapace_asks_kwire_for_its_login(run: Run) -> None:
    (port,) = free_ports(1)
    login = f"{USER}:{quote(PASSWORD, safe='')}"
    with (
        kwire(run, f"http://{login}@127.0.0.1:{port}") as served,
        karapace(run.folder, served.bootstrap, port, users={USER: PASSWORD}) as registry,
    ):
        login_of_client = {"basic.auth.user.info": f"{USER}:{PASSWORD}"}
        exchange = Exchange(served, registry.url, references=False, **login_of_client)
        exchange.avro()
        for wrong in ("", f"{USER}:wrong@"):
            with kwire(run, f"http://{wrong}127.0.0.1:{port}") as other:
                other.ask("POST", "/v1/topics", {"name": "orders", "partitions": 1})
                status, answer = other.write("orders", {"sku": "x"}, subject="shop.Line")
                expected = f"registry {registry.url} refused the login (HTTP status 401)"
                assert (status, answer) == (400, {"error": expected}), answer
                assert "wrong" not in json.dumps(answer).replace(expected, "")


def _is_gone(exchange: Exchange, registry: RegistryProcess) -> None:
    """Without the registry, the schemas that were used are still known."""
    served = exchange.served
    seen = served.texts("orders")
    registry.kill()
    assert served.texts("orders") == seen
    status, answer = served.write("orders", {"sku": "x"}, subject="shop.Line")
    assert (status, answer["error"]) == (400, f"registry {registry.url} cannot be reached: Connection refused"), answer
    number = next(each["schema"] for each in reversed(served.decoded("orders")))
    status, answer = served.write("orders", {"sku": "by the id of a known schema"}, id=number)
    assert status == 201, answer
