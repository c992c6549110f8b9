"""Python frameworks: applications that copy and count, while they and their broker are stopped and killed."""

import shutil
from pathlib import Path

from interop.case import Run, case
from interop.frameworks.environments import PROGRAMS, environment, version
from interop.frameworks.pipeline import Pipeline
from interop.processes import Program
from interop.waiting import wait_until

FAUST = f"faust-streaming {version('faust', 'faust-streaming')}"
QUIX = f"quixstreams {version('quixstreams', 'quixstreams')}"
FASTSTREAM = f"faststream {version('faststream', 'faststream')}"
BYTEWAX = f"bytewax {version('bytewax', 'bytewax')}"
CELERY = f"celery {version('celery', 'celery')}"


def program(folder: Path, framework: str, source: str, *arguments: str) -> Program:
    command = [str(environment(framework)), "-u", "-W", "ignore", str(PROGRAMS / source), *arguments]
    return Program(f"the {folder.name} application", folder / "application.log", *command)


def quix(line: Pipeline, guarantee: str, name: str = "first", *, session_ms: int = 300_000) -> Program:
    folder = line.folder(name)
    arguments = (line.bootstrap, line.name, line.input, line.output, str(folder), guarantee, str(session_ms))
    return program(folder, "quixstreams", "quix.py", *arguments)


def faust(line: Pipeline, guarantee: str, name: str = "first") -> Program:
    folder = line.folder(name)
    arguments = (line.bootstrap, line.name, line.input, line.output, str(folder), guarantee)
    return program(folder, "faust", "faust_count.py", *arguments)


def restarts(line: Pipeline, app: Program) -> None:
    """End the application and the broker while they work; the last start has no state on the disk."""

    def killed() -> None:
        app.kill()
        app.start()

    def state_lost() -> None:
        app.stop()
        shutil.rmtree(app.log.parent / "state", ignore_errors=True)
        app.start()

    line.started(app)
    line.upset(killed, line.broker_killed, state_lost)
    app.assert_alive()
    app.stop()


def one_of_two_killed(line: Pipeline, first: Program, second: Program) -> None:
    line.started(first)
    line.started(second)
    line.upset(first.kill)
    second.stop()


@case("frameworks", QUIX, "count-exactly-once-application-and-broker-restarted")
def quix_exactly_once(run: Run) -> None:
    with Pipeline(run, run.own_broker()) as line:
        restarts(line, quix(line, "exactly-once"))
        line.assert_counted(exactly=True)


@case("frameworks", QUIX, "count-at-least-once-application-and-broker-restarted")
def quix_at_least_once(run: Run) -> None:
    with Pipeline(run, run.own_broker()) as line:
        restarts(line, quix(line, "at-least-once"))
        line.assert_counted(exactly=False)


@case("frameworks", QUIX, "two-applications-one-killed")
def quix_two(run: Run) -> None:
    with Pipeline(run, run.broker) as line:
        first, second = (quix(line, "exactly-once", name, session_ms=10_000) for name in ("first", "second"))
        one_of_two_killed(line, first, second)
        line.assert_counted(exactly=True)


@case("frameworks", FAUST, "table-application-and-broker-restarted")
def faust_table(run: Run) -> None:
    with Pipeline(run, run.own_broker()) as line:
        restarts(line, faust(line, "at-least-once"))
        line.assert_counted(exactly=False)


@case("frameworks", FAUST, "table-exactly-once")
def faust_exactly_once(run: Run) -> None:
    """Without a restart: after a kill Faust misses counts at Apache Kafka too."""
    with Pipeline(run, run.broker) as line:
        app = line.started(faust(line, "exactly-once"))
        line.feed(1500)
        line.wait()
        app.stop()
        line.assert_counted(exactly=True)


@case("frameworks", FAUST, "two-workers-one-killed")
def faust_two(run: Run) -> None:
    with Pipeline(run, run.broker) as line:
        first, second = (faust(line, "at-least-once", name) for name in ("first", "second"))
        one_of_two_killed(line, first, second)
        line.assert_counted(exactly=False)


def faststream(line: Pipeline, client: str, name: str = "first") -> Program:
    arguments = (line.bootstrap, line.name, line.input, line.output, client)
    return program(line.folder(name), "faststream", "faststream_copy.py", *arguments)


def register_faststream(client: str) -> None:
    @case("frameworks", FASTSTREAM, f"copy-with-{client}-application-and-broker-restarted")
    def restarted(run: Run) -> None:
        with Pipeline(run, run.own_broker()) as line:
            restarts(line, faststream(line, client))
            line.assert_copied(exactly=False)

    @case("frameworks", FASTSTREAM, f"copy-with-{client}-two-applications-one-killed")
    def two(run: Run) -> None:
        with Pipeline(run, run.broker) as line:
            one_of_two_killed(line, faststream(line, client), faststream(line, client, "second"))
            line.assert_copied(exactly=False)


for _client in ("aiokafka", "confluent"):
    register_faststream(_client)


@case("frameworks", BYTEWAX, "count-application-and-broker-restarted")
def bytewax(run: Run) -> None:
    """Its source has the offsets, not a group; a count may repeat after a kill."""
    with Pipeline(run, run.own_broker()) as line:
        folder = line.folder("first")
        arguments = (line.bootstrap, line.input, line.output, str(folder))
        restarts(line, program(folder, "bytewax", "bytewax_count.py", *arguments))
        line.assert_counted(exactly=False)


@case("frameworks", CELERY, "tasks-of-two-workers")
def celery(run: Run) -> None:
    """Kombu's transport creates a topic for the queue, and consumes it with a group."""
    queue, folder = run.unique("tasks"), run.folder
    arguments = (run.bootstrap, queue, str(folder))

    def send(first: int, last: int) -> None:
        sender = [
            str(environment("celery")),
            str(PROGRAMS / "celery_tasks.py"),
            *arguments,
            "send",
            f"{first}",
            f"{last}",
        ]
        run.program(sender, timeout_s=120).ok().prints("sent")

    send(0, 50)
    workers = [
        program(folder / name, "celery", "celery_tasks.py", *arguments, "worker", "--hostname", name)
        for name in ("first", "second")
    ]
    with workers[0], workers[1]:
        for worker in workers:
            worker.start()
            worker.wait_for("ready")
        wait_for_tasks(folder, 50)
        send(50, 100)
        wait_for_tasks(folder, 100)
        for worker in workers:
            worker.stop()


def wait_for_tasks(folder: Path, count: int) -> None:
    file = folder / "done.txt"

    def done() -> set[str]:
        return set(file.read_text().split()) if file.exists() else set()

    wait_until(lambda: len(done()) >= count, lambda: f"{len(done())} tasks of {count} were done", timeout_s=90)
