"""Keys and values of stock serializers, decoded in the console and by kwire consume.

The serializers are those of confluent-kafka (Avro, Protobuf, JSON Schema); ids are in the content, GUIDs in headers.
"""

import json
import subprocess
from typing import Any

from interop.brokers import PYTHON
from interop.case import Run, case
from interop.cases.console import console
from interop.schema_registry import served

LINE = {"type": "record", "name": "Line", "namespace": "shop", "fields": [{"name": "sku", "type": "string"}]}
ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["OPEN", "PAID"]}},
        {"name": "lines", "type": {"type": "array", "items": "shop.Line"}},
    ],
}
CUSTOMER = {
    "title": "Customer",
    "type": "object",
    "properties": {"name": {"type": "string"}, "visits": {"type": "integer"}},
}
# More than the 53 bits of JavaScript's numbers.
LARGE = 2**60 + 1


class Writer:
    """Writes values with the serializers of confluent-kafka."""

    def __init__(self, bootstrap: str, url: str, **settings: str) -> None:
        from confluent_kafka import Producer
        from confluent_kafka.schema_registry import SchemaRegistryClient

        self.registry = SchemaRegistryClient({"url": url, **settings})
        self._producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})

    def write(self, topic: str, serializer: Any, value: object, key: bytes | None = None) -> None:
        from confluent_kafka.serialization import MessageField, SerializationContext

        headers: list[tuple[str, bytes]] = []
        context = SerializationContext(topic, MessageField.VALUE, headers)
        self._producer.produce(topic, serializer(value, context), key, headers=headers)
        assert self._producer.flush(20) == 0

    def avro(self, settings: dict[str, Any] | None = None) -> Any:
        from confluent_kafka.schema_registry import Schema, SchemaReference
        from confluent_kafka.schema_registry.avro import AvroSerializer

        self.registry.register_schema("line", Schema(json.dumps(LINE), "AVRO"))
        references = [SchemaReference("shop.Line", "line", 1)]
        return AvroSerializer(self.registry, Schema(json.dumps(ORDER), "AVRO", references), conf=settings)


def protobuf_message() -> tuple[Any, Any]:
    """A nested message of a file with another message before it, and one of its values."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    string, timestamp = descriptor_pb2.FieldDescriptorProto.TYPE_STRING, ".google.protobuf.Timestamp"
    file = descriptor_pb2.FileDescriptorProto(name="shop/payment.proto", package="shop", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    file.message_type.add(name="First").field.add(name="text", number=1, type=string, label=1)
    payment = file.message_type.add(name="Payment").nested_type.add(name="Card")
    payment.field.add(name="owner", number=1, type=string, label=1)
    message = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
    payment.field.add(name="paid_at", number=2, type=message, type_name=timestamp, label=1)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Payment.Card"))
    value = kind(owner="Åse")
    value.paid_at.seconds = 1
    return kind, value


def _write_by_schema(shown: Any, number: int) -> None:
    """Write an order with the form, after one that does not fit."""
    page = shown.page
    shown.show("messages/orders")
    form = page.get_by_role("form", name="Produce")
    form.get_by_label("Schema of the value").fill("orders-value")
    form.get_by_label("Value", exact=True).fill('{"id": "five"}')
    form.get_by_role("button", name="Send").press("Enter")
    page.get_by_text('record 1, value: schema 2: id is "five"; a whole number of 64 bits is needed').wait_for()
    form.get_by_label("Value", exact=True).fill(f'{{"id": {number}, "status": "PAID", "lines": [{{"sku": "tea"}}]}}')
    form.get_by_role("button", name="Send").press("Enter")
    page.get_by_text("Written to orders-0 at offset 2.").wait_for()


@case("console", "schemas")
def what_stock_serializers_write_is_shown_decoded(run: Run) -> None:
    from confluent_kafka.schema_registry import header_schema_id_serializer
    from confluent_kafka.schema_registry.json_schema import JSONSerializer
    from confluent_kafka.schema_registry.protobuf import ProtobufSerializer

    with served() as (url, _), console(run, "--schema-registry", url) as shown:
        writer = Writer(shown.bootstrap, url)
        order = {"id": LARGE, "status": "PAID", "lines": [{"sku": "tea"}]}
        writer.write("orders", writer.avro(), order, b"plain key")
        writer.write("orders", writer.avro({"schema.id.serializer": header_schema_id_serializer}), {**order, "id": 7})
        kind, card = protobuf_message()
        writer.write("payments", ProtobufSerializer(kind, writer.registry), card)
        headed = {"schema.id.serializer": header_schema_id_serializer}
        writer.write("payments", ProtobufSerializer(kind, writer.registry, headed), card)
        serializer = JSONSerializer(json.dumps(CUSTOMER), writer.registry)
        writer.write("customers", serializer, {"name": "Ana", "visits": 3})
        names = {}
        for topic in ("orders", "payments", "customers"):
            for record in shown.ask("GET", f"/v1/topics/{topic}/records"):
                names.setdefault(topic, []).append(
                    (record["decoded"]["value"]["name"], record["decoded"]["value"]["text"])
                )
        cards = ("shop.Payment.Card", '{"owner": "Åse", "paid_at": "1970-01-01T00:00:01Z"}')
        orders = [("shop.Order", json.dumps({**order, "id": number})) for number in (LARGE, 7)]
        assert names == {
            "orders": orders,
            "payments": [cards, cards],
            "customers": [("Customer", '{"name":"Ana","visits":3}')],
        }, names
        page = shown.page
        shown.show("messages/orders")
        page.get_by_role("cell", name='"status": "PAID"').first.wait_for()
        page.get_by_text(f"decoded by the schemas of {url}").wait_for()
        page.get_by_label("Search for text").fill(f'"id": {LARGE}')
        page.keyboard.press("Enter")
        page.get_by_text("1 record found in 2.").wait_for()
        page.get_by_role("button", name="Details").first.press("Enter")
        page.get_by_text("Avro shop.Order").wait_for()
        page.locator("pre", has_text=f'"id": {LARGE},').wait_for()
        page.screenshot(path=run.folder / "decoded.png")
        page.get_by_label("Show key and value as").select_option("hex")
        page.locator("pre", has_text="00000000  00 00 00 00").wait_for()
        shown.show("messages/payments")
        page.get_by_role("button", name="Follow live").press("Enter")
        page.get_by_text("Records appear here as they are written.").wait_for()
        writer.write("payments", ProtobufSerializer(kind, writer.registry), card)
        page.get_by_role("cell", name='"owner": "Åse"').wait_for()
        _write_by_schema(shown, LARGE + 2)
        orders.append(("shop.Order", json.dumps({**order, "id": LARGE + 2})))
        assert len(shown.problems) == 1, shown.problems  # the browser reports the status of the value that does not fit
        consume = [PYTHON, "-P", "-m", "kwire", "consume", "orders", "-b", shown.bootstrap, "--until-end"]
        consume += ["--from-beginning", "--schema-registry", url, "--json"]
        lines = subprocess.run(consume, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
        assert [json.loads(line)["decoded"]["value"]["text"] for line in lines] == [text for _, text in orders]


@case("console", "schemas")
def a_registry_that_is_silent_is_named_and_disturbs_nothing(run: Run) -> None:
    with served() as (url, registry), console(run, "--schema-registry", url) as shown:
        writer = Writer(shown.bootstrap, url)
        writer.write("orders", writer.avro(), {"id": 1, "status": "OPEN", "lines": []}, b"k")
        registry.down.set()
        shown.show("messages/orders")
        page = shown.page
        page.get_by_role("cell", name="8 bytes: 00 00 00 00 02").wait_for()
        page.get_by_role("button", name="Details").first.press("Enter")
        page.get_by_text(f"schema 2: registry {url} did not answer within 2 s").wait_for()
        registry.down.clear()
        # The failure is remembered for 10 s.
        page.wait_for_timeout(11_000)
        page.get_by_role("button", name="Read", exact=True).press("Enter")
        page.get_by_role("cell", name='"status": "OPEN"').wait_for()
        assert shown.problems == []
