"""``kwire run``: runs a command with a broker, which stops with the command.

Responsible for: the command line, the child process, its signals and exit code. Must not depend on: the broker's
internals (``kwire.testing`` starts it).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import click

from kwire.cli.serving.serve import fail
from kwire.cli.settings.topic_specs import FORM, TopicSpecError, parse_topic

if TYPE_CHECKING:
    from kwire.metadata.decisions.topics import NewTopic
    from kwire.testing.broker import KafkaBroker

_VARIABLES: Final = ("KAFKA_BOOTSTRAP_SERVERS", "KWIRE_BOOTSTRAP")
_PASSED_ON: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_FROM_TERMINAL: Final = 0x80  # si_code of a signal that the kernel sends, as for Ctrl-C: the child gets its own
_NOT_EXECUTABLE: Final = 126
_NOT_FOUND: Final = 127
_SIGNALLED: Final = 128


@click.command(
    short_help="Run a command with a broker of its own.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="""\b
Examples:
  kwire run -- go test ./...
  kwire run --topic orders:3 --set auto.create.topics.enable=false -- npm test
  kwire run --data ./state -- sh
""",
)
@click.option(
    "--topic", "topics", multiple=True, metavar=FORM, help="Create this topic, such as orders:3; may be repeated."
)
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Set a broker setting; may be repeated.")
@click.option("--data", type=click.Path(), metavar="DIR", help="Keep the data in this directory. [default: in memory]")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="The port. [default: any free one]")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    *, topics: tuple[str, ...], sets: tuple[str, ...], data: str | None, port: int, command: tuple[str, ...]
) -> None:
    """Start a broker, run COMMAND, stop the broker, and exit with the exit code of COMMAND.

    COMMAND finds the broker's address in KAFKA_BOOTSTRAP_SERVERS, and in KWIRE_BOOTSTRAP for the other kwire commands.
    Signals are passed on to it. A COMMAND that a signal ends gives 128 plus the signal's number, one that is not found
    127.
    """
    from kwire.testing.arguments import BrokerConfigError
    from kwire.testing.broker import KafkaBroker
    from kwire.testing.start_errors import BrokerStartError

    # Before the broker's thread starts: threads inherit the mask, and signals then wait for sigwait below.
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_PASSED_ON, signal.SIGCHLD})
    settings = _settings(sets)
    try:
        broker = KafkaBroker(config=settings, data=data, port=port)
        wanted = [parse_topic(word) for word in topics]
        broker.start()
    except (BrokerConfigError, BrokerStartError, TopicSpecError) as error:
        raise fail(str(error)) from None
    try:
        _create(broker, wanted, settings)
        code = _run_child(command, {**os.environ, **dict.fromkeys(_VARIABLES, broker.bootstrap_servers)})
    finally:
        broker.stop()
    sys.exit(code)


def _create(broker: KafkaBroker, topics: list[NewTopic], settings: Mapping[str, str]) -> None:
    """Create the topics that do not exist in --data already. Ends the command where one is refused."""
    from kwire.errors import Code, KafkaError
    from kwire.metadata.decisions.topics import USE_DEFAULT

    for topic in topics:
        if topic.replication_factor > 1:
            raise fail(f"--topic {topic.name}: one broker cannot have {topic.replication_factor} replicas")
        partitions = int(settings.get("num.partitions", "1")) if topic.partitions == USE_DEFAULT else topic.partitions
        configs = {key.replace(".", "_"): text or "" for key, text in topic.configs.items()}
        try:
            broker.create_topic(topic.name, partitions, **configs)
        except KafkaError as error:
            if error.code is not Code.TOPIC_ALREADY_EXISTS:
                raise fail(f"--topic {topic.name}: {error.message or error.code.name}") from None


def _settings(sets: tuple[str, ...]) -> dict[str, str]:
    settings = {}
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise click.UsageError(f"--set {text}: write KEY=VALUE, such as --set num.partitions=3")
        settings[key.strip()] = value.strip()
    return settings


def _run_child(command: tuple[str, ...], environment: Mapping[str, str]) -> int:
    try:
        # Not subprocess: its child would inherit the blocked signals.
        pid = os.posix_spawnp(
            command[0], command, environment, setsigmask=[], setsigdef=[signal.SIGINT, signal.SIGQUIT]
        )
    except FileNotFoundError:
        sys.stderr.write(f"kwire: {command[0]}: command not found\n")
        return _NOT_FOUND
    except OSError as error:
        sys.stderr.write(f"kwire: {command[0]}: {error.strerror}\n")
        return _NOT_EXECUTABLE
    while True:
        number = _next_signal()
        if number is not None:
            os.kill(pid, number)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else _SIGNALLED - code


def _next_signal() -> int | None:
    """Wait for a signal; returns one to pass on, None for one that the child sends or gets itself."""
    awaited = {*_PASSED_ON, signal.SIGCHLD}
    if hasattr(signal, "sigwaitinfo"):
        found = signal.sigwaitinfo(awaited)
        number, from_terminal = found.si_signo, found.si_code == _FROM_TERMINAL
    else:  # macOS
        number, from_terminal = int(signal.sigwait(awaited)), sys.stdin.isatty()
    return None if number == signal.SIGCHLD or from_terminal else number
