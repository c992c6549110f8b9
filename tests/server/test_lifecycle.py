"""A real broker behind real sockets, in this process."""

from __future__ import annotations

import functools
import os
import signal
import socket
import struct
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from peer import apis_of

from kwire.errors import Code
from kwire.metadata.configs.definitions import ConfigProblem
from kwire.metadata.configs.effective import BrokerSettings
from kwire.server import lifecycle
from kwire.server.acceptor import CannotBind
from kwire.server.lifecycle import open_server
from kwire.storage.files import DirectoryInUse
from kwire.storage.os_files import OsFiles
from kwire.testing.clusters.nodes import free_ports
from kwire.wire import codec
from kwire.wire.messages import ApiVersionsRequest, ConfigRecord, IncrementalAlterConfigsRequest, MetadataRequest


def settings(path, **texts: str) -> BrokerSettings:
    named = {key.replace("_", "."): text for key, text in texts.items()}
    return BrokerSettings({"listeners": "PLAINTEXT://localhost:0", "log.dirs": str(path), **named})


async def ask(port: int, key: int, version: int, request) -> object:
    with trio.socket.socket() as peer:
        await peer.connect(("127.0.0.1", port))
        await peer.send(codec.encode_request(key, version, 7, "test", request))
        size = struct.unpack(">i", await peer.recv(4))[0]
        frame = b""
        while len(frame) < size:
            frame += await peer.recv(size - len(frame))
    correlation_id, response = codec.decode_response(key, version, memoryview(frame))
    assert correlation_id == 7
    return response


async def test_a_broker_serves_from_the_block_and_leaves_its_directory_in_order(tmp_path):
    async with open_server(settings(tmp_path), OsFiles()) as server:
        (binding,) = server.bindings
        response = await ask(binding.port, 3, 12, MetadataRequest(topics=None))
        assert not (tmp_path / ".kafka_cleanshutdown").exists()

    assert [(broker.host, broker.port) for broker in response.brokers] == [("localhost", binding.port)]
    assert (tmp_path / ".kafka_cleanshutdown").exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", binding.port))


async def test_each_listener_advertises_its_own_address(tmp_path):
    both = settings(
        tmp_path,
        listeners="IN://localhost:0,OUT://localhost:0",
        advertised_listeners="IN://kafka:0,OUT://localhost:0",
        listener_security_protocol_map="IN:PLAINTEXT,OUT:PLAINTEXT",
        inter_broker_listener_name="IN",
    )
    async with open_server(both, OsFiles()) as server:
        inside, outside = server.bindings
        advertised = [await ask(one.port, 3, 12, MetadataRequest(topics=[])) for one in (inside, outside)]

    assert [(one.brokers[0].host, one.brokers[0].port) for one in advertised] == [
        ("kafka", inside.port),
        ("localhost", outside.port),
    ]


async def test_advertised_versions_are_answered_and_no_others(tmp_path):
    async with open_server(settings(tmp_path), OsFiles()) as server:
        request = ApiVersionsRequest(client_software_name="t", client_software_version="1")
        response = await ask(server.bindings[0].port, 18, 3, request)

        advertised = {api.api_key: (api.min_version, api.max_version) for api in response.api_keys}
    assert advertised == {key: api.advertised for key, api in apis_of(server.broker).items()}


async def test_ten_brokers_live_in_one_process(tmp_path):
    async with trio.open_nursery() as nursery:
        ports = []

        async def one(number, task_status):
            async with open_server(settings(tmp_path / str(number), node_id=str(number)), OsFiles()) as server:
                task_status.started()
                ports.append((number, server.bindings[0].port))
                await trio.sleep_forever()

        for number in range(10):
            await nursery.start(one, number)
        for number, port in ports:
            response = await ask(port, 3, 12, MetadataRequest(topics=[]))
            assert response.controller_id == number
        nursery.cancel_scope.cancel()

    assert len({port for _, port in ports}) == 10


async def test_two_brokers_do_not_share_a_directory_and_the_port_is_given_back(tmp_path):
    (port,) = free_ports(1)
    async with open_server(settings(tmp_path), OsFiles()):
        with pytest.raises(DirectoryInUse):
            async with open_server(settings(tmp_path, listeners=f"PLAINTEXT://localhost:{port}"), OsFiles()):
                pass

    with socket.socket() as again:
        again.bind(("127.0.0.1", port))


async def test_a_busy_port_is_advertised_before_any_data_is_touched(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(CannotBind, match=f"port {port}"):
            async with open_server(settings(tmp_path / "data", listeners=f"PLAINTEXT://localhost:{port}"), OsFiles()):
                pass
    assert not (tmp_path / "data").exists()


async def test_the_first_of_two_ports_is_given_back_when_the_second_is_busy(tmp_path):
    (first,) = free_ports(1)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        listeners = f"PLAINTEXT://127.0.0.1:{first},B://127.0.0.1:{other.getsockname()[1]}"

        with pytest.raises(CannotBind):
            async with open_server(
                settings(
                    tmp_path, listeners=listeners, listener_security_protocol_map="PLAINTEXT:PLAINTEXT,B:PLAINTEXT"
                ),
                OsFiles(),
            ):
                pass
        with socket.socket() as again:
            again.bind(("127.0.0.1", first))


async def test_limits_that_cannot_be_read_stop_the_start(tmp_path):
    with pytest.raises(ConfigProblem, match="is not ADDRESS:COUNT"):
        async with open_server(settings(tmp_path, max_connections_per_ip_overrides="x"), OsFiles()):
            pass


async def test_limits_that_an_apache_broker_left_and_kwire_refuses_do_not_end_the_broker(tmp_path):
    left = ConfigRecord(resource_type=4, resource_name="", name="max.connections.per.ip.overrides", value="a.host:5")
    async with open_server(settings(tmp_path, max_connections_per_ip="1"), OsFiles()) as server:
        server.broker.controller.commit([left])
        await ask(server.bindings[0].port, 3, 12, MetadataRequest(topics=None))

        assert server.connections.read_limits().connections_per_ip_max == 1


async def test_limits_follow_the_configs_of_all_brokers_and_of_this_one(tmp_path):
    def limit(resource_name, value):
        return ConfigRecord(resource_type=4, resource_name=resource_name, name="max.connections.per.ip", value=value)

    async with open_server(settings(tmp_path, node_id="7"), OsFiles()) as server:
        controller, connections = server.broker.controller, server.connections
        for record in (limit("", "5"), limit("7", "6"), limit("7", None), limit("", "8")):
            controller.commit([record])
            found = connections.read_limits().connections_per_ip_max
            assert found == int(record.value or 5), record


async def test_a_limit_for_a_host_by_its_name_is_refused(tmp_path):
    request = IncrementalAlterConfigsRequest(
        resources=[
            IncrementalAlterConfigsRequest.AlterConfigsResource(
                resource_type=4,
                resource_name="",
                configs=[
                    IncrementalAlterConfigsRequest.AlterableConfig(
                        name="max.connections.per.ip.overrides", config_operation=0, value="localhost:5"
                    )
                ],
            )
        ]
    )
    async with open_server(settings(tmp_path), OsFiles()) as server:
        response = await ask(server.bindings[0].port, 44, 1, request)
        await ask(server.bindings[0].port, 3, 12, MetadataRequest(topics=None))

    assert response.responses[0].error_code == Code.INVALID_REQUEST


def test_a_signal_before_it_serves_ends_the_start(monkeypatch, tmp_path):
    ended = []

    @asynccontextmanager
    async def recovering(*_args, **_kwargs):
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await trio.sleep_forever()
        finally:
            ended.append(True)
        yield None

    monkeypatch.setattr(lifecycle, "open_server", recovering)
    before = signal.getsignal(signal.SIGTERM)

    open_it = functools.partial(lifecycle.open_server, settings(tmp_path), OsFiles(), connections_max=10)
    trio.run(lifecycle._serve_until_signalled, open_it)

    assert ended == [True]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_server_that_is_ready_is_reported_and_serves_until_a_signal(monkeypatch, tmp_path):
    monkeypatch.setattr(lifecycle.gc, "freeze", lambda: None)
    before = signal.getsignal(signal.SIGTERM)
    reported, handlers = [], []

    async def report(server):
        reported.append(server.bindings[0].port)

    async def send_a_signal(_server, task_status):
        handlers.append(signal.getsignal(signal.SIGTERM))
        task_status.started()
        await trio.testing.wait_all_tasks_blocked()
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await trio.sleep_forever()
        finally:
            handlers.append(signal.getsignal(signal.SIGTERM))

    open_it = functools.partial(lifecycle.open_server, settings(tmp_path), OsFiles())
    trio.run(lifecycle._serve_until_signalled, open_it, report, send_a_signal)

    assert len(reported) == 1
    # Of the first signal, and of a second one while the server stops.
    assert len({before, *handlers}) == 3
    assert (tmp_path / ".kafka_cleanshutdown").exists()


async def test_idle_connections_do_not_hold_up_the_stop(tmp_path, monkeypatch):
    monkeypatch.setattr(lifecycle, "SHUTDOWN_GRACE_S", float("inf"))
    async with open_server(settings(tmp_path), OsFiles()) as server:
        peers = [trio.socket.socket() for _ in range(20)]
        for peer in peers:
            await peer.connect(("127.0.0.1", server.bindings[0].port))
        while len(server.connections) < 20:
            await trio.lowlevel.checkpoint()

    for peer in peers:
        assert await peer.recv(1) == b""
        peer.close()


async def test_another_broker_that_takes_the_place_serves_on(tmp_path):
    async with open_server(settings(tmp_path), OsFiles()) as server:
        await server.reopen(lambda: None)
        await trio.testing.wait_all_tasks_blocked()
        response = await ask(server.bindings[0].port, 3, 12, MetadataRequest(topics=[]))

    assert response.controller_id == server.broker.node_id


async def test_a_stop_while_another_broker_takes_the_place_ends_the_server(tmp_path):
    async with trio.open_nursery() as nursery, open_server(settings(tmp_path), OsFiles()) as server:
        before = server.broker
        nursery.start_soon(server.reopen, lambda: None)
        while not server.leave.is_set():
            await trio.lowlevel.checkpoint()

    assert server.broker is not before


async def test_directories_are_named_from_the_root_as_the_tools_that_move_partitions_name_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = BrokerSettings({"listeners": "PLAINTEXT://127.0.0.1:0", "log.dirs": "a,b", "metadata.log.dir": "b"})

    async with open_server(relative, OsFiles()) as server:
        assert [one.path for one in server.broker.dirs.dirs] == [f"{tmp_path}/a", f"{tmp_path}/b"]

    assert (tmp_path / "b" / "__cluster_metadata-0").is_dir()
