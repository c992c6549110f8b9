import socket

import pytest
from kafka import KafkaConsumer, KafkaProducer

from kwire.errors import Code, KafkaError
from kwire.metadata.configs import ConfigProblem
from kwire.testing import KafkaBroker


def roundtrip(kafka, topic="messages"):
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    producer.send(topic, b"hello").get(10)
    producer.close()


def read(kafka, count, topic="messages"):
    consumer = KafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest", consumer_timeout_ms=10_000
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


def test_two_brokers_know_nothing_of_each_other():
    with KafkaBroker(topics={"a": 1}) as one, KafkaBroker() as other:
        assert one.port != other.port
        consumer = KafkaConsumer(bootstrap_servers=other.bootstrap_servers)
        assert consumer.topics() == set()
        consumer.close()


def test_moving_the_clock_moves_the_brokers_time(kafka):
    kafka.create_topic("stamped", message_timestamp_type="LogAppendTime")
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    before = producer.send("stamped", b"1").get(10).timestamp
    kafka.advance(86_400_000)
    after = producer.send("stamped", b"2").get(10).timestamp
    producer.close()
    assert after - before >= 86_400_000


def test_the_clock_stays_moved_across_a_restart(kafka):
    kafka.create_topic("stamped", message_timestamp_type="LogAppendTime")
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    kafka.advance(86_400_000)
    before = producer.send("stamped", b"1").get(10).timestamp
    kafka.restart()
    after = producer.send("stamped", b"2").get(10).timestamp
    producer.close()
    assert after >= before


def test_a_topic_that_cannot_be_is_a_kafka_error(kafka):
    with pytest.raises(KafkaError) as refusal:
        kafka.create_topic("no/slashes")
    assert refusal.value.code == Code.INVALID_TOPIC_EXCEPTION


def test_a_setting_that_cannot_be_stops_the_start():
    with pytest.raises(ConfigProblem, match=r"num\.partitions"):
        KafkaBroker(config={"num.partitions": "many"}).start()


def test_a_busy_port_stops_the_start_with_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Exception, match=rf"cannot listen on .*{port}"):
            KafkaBroker(port=port).start()


def test_data_in_a_folder_outlives_the_broker(tmp_path):
    folder = str(tmp_path / "data")
    with KafkaBroker(data=folder) as kafka:
        roundtrip(kafka)
    with KafkaBroker(data=folder) as kafka:
        assert read(kafka, 1) == [b"hello"]
