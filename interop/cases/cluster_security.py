"""Clusters whose nodes talk to each other over TLS and log in, with an authorizer."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import confluent_kafka

from interop.authorization.brokers import AUTHORIZER, PLAIN
from interop.case import Run, case
from interop.cases.cluster import make_topic
from interop.cluster.rig import APACHE, KWIRE, Rig
from interop.jars import CURRENT
from interop.sasl import SCRAM_MODULE, Wire
from interop.tls import Certificates, key_stores
from kwire.wire import messages as m

NODE, PASSWORD = "node", "node-secret"
LOGIN = f'username="{NODE}" password="{PASSWORD}"'
USERS = f'{LOGIN} user_{NODE}="{PASSWORD}" user_alice="alice-secret" user_admin="admin-secret"'
CLIENT = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "PLAIN",
    "sasl.username": "admin",
    "sasl.password": "admin-secret",
}
CLIENTS_LOG_IN = {
    "listener.name.client.sasl.enabled.mechanisms": "PLAIN",
    "listener.name.client.plain.sasl.jaas.config": f"{PLAIN} {USERS};",
    "authorizer.class.name": AUTHORIZER,
}
REFUSED = 31  # CLUSTER_AUTHORIZATION_FAILED


def over_sasl_ssl(certificates: Certificates) -> dict[str, str]:
    """Nodes log in at controllers by PLAIN and at brokers by SCRAM, over TLS."""
    return {
        **key_stores(certificates),
        **CLIENTS_LOG_IN,
        "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,BROKER:SASL_SSL,CONTROLLER:SASL_SSL",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.broker.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.broker.scram-sha-512.sasl.jaas.config": SCRAM_MODULE.replace("required", f"required {LOGIN}"),
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.controller.plain.sasl.jaas.config": f"{PLAIN} {USERS};",
        "super.users": f"User:{NODE};User:admin",
    }


def over_mutual_tls(certificates: Certificates) -> dict[str, str]:
    """Nodes know each other by their certificates."""
    return {
        **key_stores(certificates),
        **CLIENTS_LOG_IN,
        "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,BROKER:SSL,CONTROLLER:SSL",
        "listener.name.broker.ssl.client.auth": "required",
        "listener.name.controller.ssl.client.auth": "required",
        "super.users": "User:CN=localhost;User:admin",
    }


@contextmanager
def cluster(
    run: Run, settings: Mapping[str, str], *, brokers: tuple[str, ...], controller: str, release: str = CURRENT
) -> Iterator[Rig]:
    rig = Rig(run.folder, brokers=brokers, controllers=(controller,), settings=settings, release=release, client=CLIENT)
    if "SASL_SSL" in settings["listener.security.protocol.map"]:
        # Brokers read credentials of SCRAM from the metadata, which must have those of the nodes from the start.
        scram = ("--add-scram", f"SCRAM-SHA-512=[name={NODE},password={PASSWORD}]")
        rig.controllers[0].format_arguments = (*rig.controllers[0].format_arguments, *scram)
    with rig:
        yield rig
        rig.assert_alive()


def write_and_read(rig: Rig, topic: str) -> None:
    """A transaction with acks=all, read by a group: leaders, followers and coordinators ask each other."""
    producer = confluent_kafka.Producer(rig.client_settings({"transactional.id": f"{topic}-writer", "acks": "all"}))
    producer.init_transactions(60)
    producer.begin_transaction()
    for number in range(30):
        producer.produce(topic, str(number).encode(), partition=number % 3)
    producer.commit_transaction(60)
    settings = {"group.id": f"{topic}-readers", "auto.offset.reset": "earliest", "isolation.level": "read_committed"}
    consumer = confluent_kafka.Consumer(rig.client_settings(settings))
    consumer.subscribe([topic])
    seen: set[bytes] = set()
    for _ in range(90):
        record = consumer.poll(1)
        if record is not None and record.error() is None:
            seen.add(record.value() or b"")
        if len(seen) == 30:
            break
    consumer.commit(asynchronous=False)
    consumer.close()
    assert len(seen) == 30, f"{len(seen)} of 30 records were read\n{rig.tails()}"


def a_client_is_no_node(rig: Rig) -> None:
    """Alice may not do what nodes do."""
    wire = Wire(rig.broker(1).port)
    assert wire.plain("alice")["errorCode"] == 0
    request = m.WriteTxnMarkersRequest
    topic = request.WritableTxnMarkerTopic(name="t", partition_indexes=[0])
    marker = request.WritableTxnMarker(producer_id=1, producer_epoch=0, topics=[topic])
    answer = wire.call(1, request(markers=[marker]))
    codes = [one["errorCode"] for each in answer["markers"] for t in each["topics"] for one in t["partitions"]]
    assert codes == [REFUSED], answer
    wire.close()


def live(rig: Rig) -> None:
    make_topic(rig, "t")
    write_and_read(rig, "t")
    a_client_is_no_node(rig)
    broker = rig.broker(1)
    broker.kill()
    rig.wait_for_brokers(len(rig.brokers) - 1)
    broker.start()
    broker.wait()
    rig.wait_for_brokers(len(rig.brokers))
    rig.wait_in_sync()
    write_and_read(rig, "t")


@case("cluster", "security", "three kwire brokers over SASL_SSL")
def kwire_over_sasl_ssl(run: Run) -> None:
    settings = over_sasl_ssl(Certificates(run.folder / "certificates"))
    with cluster(run, settings, brokers=(KWIRE,) * 3, controller=KWIRE) as rig:
        live(rig)


@case("cluster", "security", "three kwire brokers over mutual TLS")
def kwire_over_mutual_tls(run: Run) -> None:
    settings = over_mutual_tls(Certificates(run.folder / "certificates"))
    with cluster(run, settings, brokers=(KWIRE,) * 3, controller=KWIRE) as rig:
        live(rig)


@case("cluster", "security", "kwire and Java under an official controller over SASL_SSL")
def mixed_over_sasl_ssl(run: Run) -> None:
    settings = over_sasl_ssl(Certificates(run.folder / "certificates"))
    with cluster(run, settings, brokers=(KWIRE, APACHE, KWIRE), controller=APACHE) as rig:
        live(rig)


@case("cluster", "security", "kwire and Java under kwire's controller over mutual TLS")
def mixed_over_mutual_tls(run: Run) -> None:
    settings = over_mutual_tls(Certificates(run.folder / "certificates"))
    with cluster(run, settings, brokers=(KWIRE, APACHE, KWIRE), controller=KWIRE) as rig:
        live(rig)
