"""``kwire serve``: run a broker.

Responsible for: the command line. Must not depend on: how settings are read, how a broker starts and stops.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

from kwire.cli.serving.start_refusals import StartRefused, explain_start, refused_directory
from kwire.cli.settings.settings import Settings, SettingsError, gather
from kwire.cli.settings.topic_specs import FORM

if TYPE_CHECKING:
    import trio

    from kwire.cli.serving.end_of_input import EndOfInput
    from kwire.cli.serving.secure import Secure
    from kwire.schemas.address import RegistryAddress
    from kwire.server.lifecycle import Server
    from kwire.storage.files import Files

_MEMORY_DIRECTORY: Final = "/kwire"
_CONSOLE_ADDRESS: Final = "127.0.0.1:9644"

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(command: F) -> F:
    """Add the options by which settings are given; ``gathered`` reads them."""
    for option in reversed(_SETTINGS_OPTIONS):
        command = option(command)
    return command


_SETTINGS_OPTIONS: Final = (
    click.option(
        "--listen",
        multiple=True,
        metavar="[[NAME://]HOST:]PORT",
        help="Where to listen; may be repeated. Port 0 takes any free port. [default: PLAINTEXT://localhost:9092]",
    ),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        metavar="N",
        help="Listen on this port of localhost: short for --listen localhost:N.",
    ),
    click.option(
        "--data", type=click.Path(), metavar="DIR", help="The directory for the data. [default: ./kwire-data]"
    ),
    click.option("--config", "file", type=click.Path(), metavar="FILE", help="Read a server.properties file."),
    click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set a broker setting, such as log.retention.ms=1d; may be repeated. kwire config lists all settings.",
    ),
    click.option(
        "--default",
        "defaults",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set a broker setting, unless another option, the file or a variable sets it.",
    ),
    click.option(
        "--env",
        is_flag=True,
        help="Read CLUSTER_ID and KAFKA_... variables as Kafka's container images do, and KWIRE_... for kwire.*.",
    ),
    click.option("--strict", is_flag=True, help="Refuse settings of a file or variable that have no effect."),
)


def gathered(options: dict[str, Any]) -> Settings:
    """Return the settings that the options of ``settings_options`` give. Ends the command where they are wrong."""
    environment = os.environ if options.pop("env") else None
    port = options.pop("port")
    if port is not None:
        if options["listen"]:
            raise click.UsageError("--port is short for --listen localhost:N; give one of them")
        options["listen"] = (str(port),)
    try:
        return gather(environment=environment, **options)
    except SettingsError as error:
        raise fail(str(error)) from None


def fail(lines: str) -> SystemExit:
    """Print why the broker does not start; returns the exception to raise."""
    sys.stderr.write("".join(f"kwire: {line}\n" for line in lines.splitlines()))
    return SystemExit(1)


@click.command(
    short_help="Run a broker.",
    epilog="""\b
Examples:
  kwire serve
  kwire serve --port 9093 --memory --topic orders:3
  kwire serve --listen 0.0.0.0:9092 --data /var/lib/kwire --set num.partitions=3
  kwire serve --config server.properties --strict
  kwire serve --memory --as 3.9
  kwire serve --secure

\b
Clients in containers and clients on the host, each with an address that works for them:
  kwire serve --listen IN://0.0.0.0:29092 --listen OUT://0.0.0.0:9092 \\
      --set advertised.listeners=IN://kafka:29092,OUT://localhost:9092 \\
      --set listener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT
""",
)
@settings_options
@click.option("--memory", is_flag=True, help="Keep the data in memory; it is gone when the broker stops.")
@click.option(
    "--topic",
    "topics",
    multiple=True,
    metavar=FORM,
    help="Create this topic unless it exists, such as orders:3; may be repeated.",
)
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="NAME:PASSWORD",
    help="Let only users log in, with PLAIN or SCRAM over SASL_PLAINTEXT; may be repeated. Other users of the machine"
    " can read a command line: --set and --config take ${env:NAME} too.",
)
@click.option(
    "--as",
    "release",
    type=click.Choice(["2.8", "3.9", "4.0", "4.3", "4.4"]),
    help="Appear to clients as this release of Apache Kafka: short for --set kwire.as.release=RELEASE.",
)
@click.option(
    "--control",
    envvar="KWIRE_CONTROL",
    metavar="[HOST:]PORT",
    help="Also serve HTTP for kwire ctl (faults, clock, request log, snapshots) and for metrics; needs kwire[control]."
    " [env: KWIRE_CONTROL]",
)
@click.option(
    "--control-token",
    envvar="KWIRE_CONTROL_TOKEN",
    metavar="TOKEN",
    help="What HTTP clients must send as Authorization: Bearer TOKEN. [env: KWIRE_CONTROL_TOKEN]",
)
@click.option(
    "--console",
    envvar="KWIRE_CONSOLE",
    is_flag=True,
    help="Also serve a page for the browser that shows topics, messages, groups and requests, at the address of"
    " --control. [default address: 127.0.0.1:9644] [env: KWIRE_CONSOLE]",
)
@click.option(
    "--schema-registry",
    envvar="KWIRE_SCHEMA_REGISTRY",
    metavar="URL",
    help="Decode keys and values by this schema registry, such as http://localhost:8081; needs kwire[schemas]."
    " KWIRE_SCHEMA_REGISTRY_TOKEN has a bearer token, ..._CA a file of certificates. [env: KWIRE_SCHEMA_REGISTRY]",
)
@click.option(
    "--secure",
    is_flag=True,
    help="Serve over TLS with login (SASL_SSL) and ACLs. The first start makes certificates, in kwire-certs beside the"
    " data, and a super user, whose password it prints once.",
)
@click.option(
    "--require-login",
    is_flag=True,
    help="Refuse to start with a listener that others can reach without login.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="The lowest level that is logged. [default: info; warning when standard output is a terminal]",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Log lines for people (text) or for programs (json).",
)
@click.option(
    "--stop-at-eof",
    is_flag=True,
    help="Stop when standard input ends: a broker that a program has started with a pipe stops with it, also when the"
    " program is killed.",
)
@click.option(
    "--remove-data-at-eof",
    is_flag=True,
    help="With --stop-at-eof: also remove the directory of --data when standard input ends. Such data survives"
    " a killed broker, but not a crash of the machine: it is never synced (fsync).",
)
@click.option(
    "--kafka-ready-lines",
    is_flag=True,
    help="When ready, also print the lines that Apache Kafka logs, for programs that wait for them.",
)
def serve(
    *,
    memory: bool,
    topics: tuple[str, ...],
    users: tuple[str, ...],
    release: str | None,
    control: str | None,
    control_token: str | None,
    console: bool,
    schema_registry: str | None,
    secure: bool,
    require_login: bool,
    log_level: str | None,
    log_format: str,
    kafka_ready_lines: bool,
    stop_at_eof: bool,
    remove_data_at_eof: bool,
    **options: Any,
) -> None:
    """Run a broker until Ctrl-C or SIGTERM.

    When clients can connect, it prints "ready NAME://HOST:PORT" for each listener, or on a terminal a short summary.
    Log lines go to standard error. Flags override environment variables, which override the file. A second signal
    stops it at once.
    """
    if sys.platform == "win32":
        raise fail("there is no broker for Windows; run kwire in WSL or in its container")
    if memory and options["data"] is not None:
        raise click.UsageError("--memory and --data exclude each other")
    http = _control(control, control_token, console=console, registry=schema_registry)
    end_of_input = _end_of_input(stop=stop_at_eof, remove=remove_data_at_eof, data=options["data"])
    from kwire.broker import logs

    if memory:
        options["data"] = _MEMORY_DIRECTORY
    if require_login:
        options["sets"] = (*options["sets"], "kwire.require.login=true")
    if release is not None:
        options["sets"] = (*options["sets"], f"kwire.as.release={release}")
    secured = _secured(options, users, memory=memory) if secure else None
    own = None if secured is None else secured.settings
    settings = gathered({**options, "topics": topics, "users": users, "secure": own})
    if not memory:
        sentence = refused_directory(_log_directories(settings))
        if sentence is not None:
            raise fail(sentence)
    report = "kafka" if kafka_ready_lines else "terminal" if sys.stdout.isatty() else "programs"
    level = log_level or ("warning" if report == "terminal" else "info")
    logs.configure(level=level, form="json" if log_format == "json" else "text")
    log = logs.Logger("kwire.cli")
    for note in settings.notes:
        (log.info if note.level == "info" else log.warning)(note.text)
    if http is not None:
        http.settings, http.secured = settings, secured
    sentence = _run(settings, memory=memory, syncs=not remove_data_at_eof, report=report, http=http, secured=secured)
    if end_of_input is not None:
        end_of_input.clean_up()
    if sentence is not None:
        raise fail(sentence)


def _end_of_input(*, stop: bool, remove: bool, data: str | None) -> EndOfInput | None:
    if not stop and not remove:
        return None
    from kwire.cli.serving.end_of_input import EndOfInput

    return EndOfInput(stop=stop, remove=remove, data=data)


def _secured(options: dict[str, Any], users: tuple[str, ...], *, memory: bool) -> Secure:
    """Make the certificates of --secure, unless they are there."""
    from kwire.cli.serving.secure import Secure, folder_for

    advertised = [text for text in options["sets"] if text.startswith("advertised.listeners=")]
    urls = [url for text in (*options["listen"], *advertised) for url in text.split(",")]
    try:
        return Secure(folder_for(options["data"], memory=memory), urls, [user.partition(":")[0] for user in users])
    except OSError as error:
        raise fail(f"cannot make certificates: {error.filename}: {error.strerror}") from None
    except ValueError as error:
        raise fail(str(error)) from None


def _log_directories(settings: Settings) -> list[str]:
    setting = settings.chosen.get("log.dirs") or settings.chosen["log.dir"]
    return [path.strip() for path in setting.text.split(",")]


@dataclass
class _Control:
    """Where to serve HTTP. ``url`` is there when it is served."""

    host: str
    port: int
    token: str | None
    console: bool
    registry: RegistryAddress | None
    settings: Settings | None = None
    secured: Secure | None = None
    url: str | None = None

    @property
    def page(self) -> str | None:
        """The URL of the console, where it is served."""
        from kwire.control.console import CONSOLE_PATH

        return self.url + CONSOLE_PATH if self.console and self.url is not None else None

    async def serve(self, server: Server, *, task_status: trio.TaskStatus[None]) -> None:
        import trio

        from kwire.control.server import control_url, serve_control
        from kwire.server.lifecycle import print_lines
        from kwire.testing.memory.files import MemoryFiles

        async def prepare() -> None:
            if self.settings is not None:
                print_lines(await _make_what_the_start_names(server, self.settings, self.secured))

        async with trio.open_nursery() as nursery:
            serve = partial(
                serve_control,
                server,
                self.host,
                self.port,
                token=self.token,
                console=self.console,
                registry=self.registry,
                new_files=MemoryFiles,
                prepare=prepare,
            )
            self.url = control_url(self.host, await nursery.start(serve))
            task_status.started()


def _control(address: str | None, token: str | None, *, console: bool, registry: str | None) -> _Control | None:
    """Read ``--control``, ``--console`` and ``--schema-registry``. Ends the command where it cannot be served."""
    if console and address is None:
        address = _CONSOLE_ADDRESS
    if address is None:
        # A variable may be there for other commands.
        if click.get_current_context().get_parameter_source("schema_registry") is ParameterSource.COMMANDLINE:
            raise click.UsageError("--schema-registry is for --console or --control")
        return None
    from kwire.cli.control_address import ControlRefused, read_control
    from kwire.cli.schema_registry_option import RegistryRefused, read_schema_registry

    try:
        return _Control(*read_control(address, token), token, console, read_schema_registry(registry))
    except (ControlRefused, RegistryRefused) as refusal:
        raise fail(str(refusal)) from None


def _run(
    settings: Settings,
    *,
    memory: bool,
    syncs: bool,
    report: str,
    http: _Control | None = None,
    secured: Secure | None = None,
) -> str | None:
    """Run to the end. Returns a sentence if the broker could not start, None after a clean stop."""
    from kwire.server.lifecycle import run

    files = None
    if memory:
        from kwire.testing.memory.files import MemoryFiles

        files = MemoryFiles()
    try:
        run(
            settings.broker_settings,
            cluster_id=settings.cluster_id,
            files=files,
            syncs=syncs,
            wrap=_unchanged if http is None else _wrap_in_faults,
            on_ready=partial(_on_ready, settings=settings, memory=memory, report=report, http=http, secured=secured),
            beside=None if http is None else http.serve,
        )
    except KeyboardInterrupt:
        return "interrupted before the broker was ready"
    except Exception as error:
        sentence = explain_start(innermost(error), settings)
        if sentence is None:
            raise
        return sentence
    return None


def _unchanged(files: Files) -> Files:
    return files


def _wrap_in_faults(files: Files) -> Files:
    from kwire.faults.disk import FaultyFiles

    return FaultyFiles(files)


async def _on_ready(
    server: Server, *, settings: Settings, memory: bool, report: str, http: _Control | None, secured: Secure | None
) -> None:
    from kwire.cli.serving import announce
    from kwire.server.lifecycle import print_lines

    first_user = await _make_what_the_start_names(server, settings, secured)
    url, page = (None, None) if http is None else (http.url, http.page)
    if report == "terminal":
        announce.report_to_terminal(server, [] if memory else _log_directories(settings), url, page)
    elif report == "kafka":
        announce.report_as_kafka(server)
    else:
        announce.report_to_programs(server)
    if report != "terminal" and url is not None:
        announce.report_control(url, page)
    print_lines(first_user)


async def _make_what_the_start_names(server: Server, settings: Settings, secured: Secure | None) -> list[str]:
    """Create topics and users; returns lines that tell the password of the first user of --secure, once."""
    if settings.topics:
        await _create_topics(server, settings)
    if settings.users:
        await _store_users(server, settings)
    elif secured is not None:
        return await secured.make_first_user(server)
    return []


async def _store_users(server: Server, settings: Settings) -> None:
    from kwire.server.initial_users import store_users

    for user, error in (await store_users(server.broker, settings.users)).items():
        raise StartRefused(f"cannot store the user {user} (--user): {error.message or error.code.name}")


async def _create_topics(server: Server, settings: Settings) -> None:
    from kwire.broker.logs import Logger
    from kwire.server.initial_topics import create_missing_topics

    sources = {wanted.topic.name: wanted.source for wanted in settings.topics}
    for topic, error in await create_missing_topics(server.broker, [wanted.topic for wanted in settings.topics]):
        if sources[topic.name] == "--topic":
            raise StartRefused(f"cannot create the topic {topic.name} (--topic): {error.message or error.code.name}")
        # As in the container image with this variable, the broker starts without the topic.
        Logger("kwire.cli").warning("cannot create topic", topic=topic.name, source=sources[topic.name], why=str(error))


def innermost(error: BaseException) -> BaseException:
    """Return the single exception in nested exception groups, as nurseries wrap it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
