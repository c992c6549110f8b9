import socket

import pytest
from kafka import KafkaConsumer, KafkaProducer

from kwire.cli.admin.topics import list_topics
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import parse_addresses
from kwire.errors import Code
from kwire.testing import BrokerConfigError, BrokerStartError, KafkaBroker, KafkaError

INT = "a whole number from -2147483648 to 2147483647"


def roundtrip(kafka, topic="messages"):
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    producer.send(topic, b"hello").get(150)
    producer.close()


def read(kafka, count, topic="messages"):
    consumer = KafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest", consumer_timeout_ms=150_000
    )
    found = [next(consumer).value for _ in range(count)]
    consumer.close()
    return found


def test_the_fixture_is_a_broker_that_clients_can_use(kafka):
    roundtrip(kafka)
    assert read(kafka, 1) == [b"hello"]


@pytest.mark.kafka(topics={"orders": 3}, config={"auto.create.topics.enable": "false"})
def test_a_mark_sets_topics_and_settings(kafka):
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers)
    assert consumer.partitions_for_topic("orders") == {0, 1, 2}
    assert not consumer.partitions_for_topic("others")
    consumer.close()


def test_records_survive_a_restart_on_the_same_port(kafka):
    roundtrip(kafka)
    port = kafka.port
    kafka.restart()
    assert kafka.port == port
    assert read(kafka, 1) == [b"hello"]


def test_two_brokers_are_independent():
    with KafkaBroker(topics={"a": 1}) as one, KafkaBroker() as other:
        assert one.port != other.port
        consumer = KafkaConsumer(bootstrap_servers=other.bootstrap_servers)
        assert consumer.topics() == set()
        consumer.close()


def test_moving_the_clock_moves_the_brokers_time(kafka):
    kafka.create_topic("stamped", message_timestamp_type="LogAppendTime")
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    before = producer.send("stamped", b"1").get(150).timestamp
    kafka.advance(86_400_000)
    after = producer.send("stamped", b"2").get(150).timestamp
    producer.close()
    assert after - before >= 86_400_000


def test_the_clock_stays_moved_across_a_restart(kafka):
    kafka.create_topic("stamped", message_timestamp_type="LogAppendTime")
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    kafka.advance(86_400_000)
    before = producer.send("stamped", b"1").get(150).timestamp
    kafka.restart()
    after = producer.send("stamped", b"2").get(150).timestamp
    producer.close()
    assert after >= before


def test_a_refusal_of_the_broker_is_a_kafka_error_with_a_code(kafka):
    kafka.create_topic("orders", 3, retention_ms=1000, cleanup_policy="compact")
    with pytest.raises(KafkaError) as refusal:
        kafka.create_topic("orders")
    assert refusal.value.code == Code.TOPIC_ALREADY_EXISTS


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"config": {"num.partitons": 1}},
            "num.partitons is not a broker setting of Kafka; did you mean num.partitions?",
        ),
        (
            {"config": {"num.partitions": "many"}},
            f"num.partitions=many: Not a number of type INT; accepted: {INT}",
        ),
        (
            {"config": {"num.partitions": True}},
            f"num.partitions=true: Not a number of type INT; accepted: {INT}",
        ),
        ({"topics": "orders"}, 'topics=\'orders\' is one string: write {"orders": 1} or ["orders"]'),
        ({"topics": {"orders": "3"}}, "topic 'orders': the number of partitions is '3'; it must be an int from 1"),
        ({"topics": {"orders": 0}}, "topic 'orders': the number of partitions is 0; it must be an int from 1"),
        ({"topics": [("orders", 3)]}, "topic name ('orders', 3) is not a string"),
        (
            {"topics": ["no/slashes"]},
            (
                "Topic name is invalid: 'no/slashes' contains one or more characters other than ASCII alphanumerics,"
                " '.', '_' and '-'"
            ),
        ),
    ],
)
def test_a_wrong_argument_of_a_broker_is_one_sentence(arguments, sentence):
    with pytest.raises(BrokerConfigError) as wrong:
        KafkaBroker(**arguments)
    assert str(wrong.value) == sentence


def test_a_topic_with_a_wrong_name_is_one_sentence(kafka):
    with pytest.raises(BrokerConfigError, match="Topic name is invalid"):
        kafka.create_topic("no/slashes")


def test_settings_are_python_values_and_topics_a_list_of_names():
    config = {"auto.create.topics.enable": False, "num.partitions": 4, "log.retention.ms": "1000"}
    with (
        KafkaBroker(topics=["a", "b"], config=config) as kafka,
        Cluster(parse_addresses(kafka.bootstrap_servers)) as cluster,
    ):
        assert {name: len(topic.partitions) for name, topic in list_topics(cluster).items()} == {"a": 1, "b": 1}


def test_settings_that_exclude_each_other_stop_the_start_with_one_sentence():
    with pytest.raises(BrokerStartError, match=r"^inter.broker.listener.name: .*; accepted: ") as error:
        KafkaBroker(config={"listeners": "SSL://localhost:0"}).start()
    assert "\n" not in str(error.value)


def test_a_busy_port_stops_the_start_with_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BrokerStartError, match=rf"^cannot listen on .*{port}[^\n]*$"):
            KafkaBroker(port=port).start()


def test_a_broker_that_does_not_run_raises():
    kafka = KafkaBroker()
    with pytest.raises(RuntimeError, match=r"does not run: call start\(\) first"):
        kafka.create_topic("orders")
    with kafka, pytest.raises(RuntimeError, match="runs already"):
        kafka.start()
    with pytest.raises(RuntimeError, match="does not run"):
        kafka.advance(1)


def test_data_in_a_folder_outlives_the_broker(tmp_path):
    folder = str(tmp_path / "data")
    with KafkaBroker(data=folder) as kafka:
        roundtrip(kafka)
    with KafkaBroker(data=folder) as kafka:
        assert read(kafka, 1) == [b"hello"]
