"""The output of ``kwire serve`` when it is ready: lines for programs, a banner, Apache Kafka's log lines.

Responsible for: the texts. Must not depend on: how a broker starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from kwire import __version__
from kwire.server.lifecycle import Server, log_ready, print_lines, warn_of_open_listeners, warn_of_stand_ins

# Lines that programs wait for in the log of a container: of broker, Raft server, and the server with ZooKeeper.
_KAFKA_LINES: Final = {
    "kafka.server.BrokerLifecycleManager": (
        "[BrokerLifecycleManager id={node}] The broker has been unfenced. Transitioning from RECOVERY to RUNNING."
    ),
    "kafka.server.BrokerServer": "[BrokerServer id={node}] Transition from STARTING to STARTED",
    "kafka.server.KafkaRaftServer": "[KafkaRaftServer nodeId={node}] Kafka Server started",
    "kafka.server.KafkaServer": "[KafkaServer id={node}] started",
}


def report_to_programs(server: Server) -> None:
    """Log what is served, and print ``ready NAME://HOST:PORT`` for each listener."""
    log_ready(server)
    print_lines(f"ready {binding.url}" for binding in server.bindings or server.controller_bindings)


def report_control(url: str, console: str | None) -> None:
    """Print ``control URL`` for programs, and ``console URL`` where the page is served."""
    print_lines([f"control {url}", *([] if console is None else [f"console {console}"])])


def report_to_terminal(
    server: Server, log_dirs: Sequence[str], control: str | None = None, console: str | None = None
) -> None:
    """Print the banner: the addresses for clients, the place of the data, and the next commands."""
    warn_of_open_listeners(server)
    warn_of_stand_ins(server)
    print_lines(banner(server, log_dirs, control, console))


def report_as_kafka(server: Server) -> None:
    """Print the ready lines, and those that Apache Kafka logs when it is ready, in its log format."""
    report_to_programs(server)
    time = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]
    print_lines(
        f"[{time}] INFO {text.format(node=server.broker.node_id)} ({logger})" for logger, text in _KAFKA_LINES.items()
    )


def banner(
    server: Server, log_dirs: Sequence[str], control: str | None = None, console: str | None = None
) -> list[str]:
    """The lines of the banner. ``log_dirs`` is empty when the data is in memory."""
    addresses = [f"{binding.endpoint.host}:{binding.endpoint.port}" for binding in server.bindings]
    shown = [
        address if len(addresses) == 1 else f"{address}  ({binding.name})"
        for address, binding in zip(addresses, server.bindings, strict=True)
    ]
    joined = [f"{one.endpoint.host}:{one.endpoint.port}" for one in server.controller_bindings]
    data = [str(Path(path).absolute()) for path in log_dirs] or ["in memory, gone when the broker stops"]
    default = addresses[:1] == ["localhost:9092"]
    ask = [f"kwire topics create messages{'' if default else f' -b {addresses[0]}'}"] if addresses else []
    return [
        f"kwire {__version__} is ready.",
        *_titled("Clients connect to", shown),
        *_titled("Brokers join at", joined),
        *_titled("Data", data),
        *_titled("Control", [] if control is None else [control]),
        *_titled("Console, in a browser", [] if console is None else [console]),
        *_titled("Next, in another terminal", ask),
        *_titled("Stop", ["Ctrl-C"]),
    ]


def _titled(title: str, values: Sequence[str]) -> list[str]:
    return [f"  {title if not index else '':<26} {value}" for index, value in enumerate(values)]
