"""JVM frameworks: applications that copy and count, while they and their broker are stopped and killed."""

import os
import threading

from interop.case import Run, case
from interop.cases.frameworks_python import one_of_two_killed, restarts
from interop.frameworks.pipeline import Pipeline
from interop.jars import CAMEL, FLINK, REACTOR, SMALLRYE, SPRING, classpath
from interop.java import CLASSES, SOURCES, compile_program
from interop.processes import JavaProcess

SPRING_ROW = f"spring-kafka {SPRING}"

SPRING_SCENARIOS = {
    "error-handler-and-dead-letters": (),
    "retry-topics": (),
    "request-and-reply": (),
    "batches-acknowledged-by-hand": (),
    "share-group-listener": ("ShareFetch",),
    "pause-seek-and-stop": (),
    "test-utilities": (),
    "topics-changed-by-the-admin": (),
}

compiling = threading.Lock()


def class_path(release: str, program: str) -> str:
    """The jars of a framework and the program, compiled against them."""
    into = CLASSES / f"for-{release}"
    with compiling:
        compile_program(SOURCES / "frameworks" / f"{program}.java", into, classpath(release))
    return os.pathsep.join([classpath(release), str(into)])


def java(
    line: Pipeline, release: str, program: str, *more: str, name: str = "first", options: tuple[str, ...] = ()
) -> JavaProcess:
    folder = line.folder(name)
    return JavaProcess(
        f"the {name} application", folder / "application.log", class_path(release, program), program,
        line.bootstrap, line.name, line.input, line.output, *more, options=options,
    )  # fmt: skip


def register_spring(scenario: str, requires: tuple[str, ...]) -> None:
    @case("frameworks", SPRING_ROW, scenario, requires=requires)
    def body(run: Run) -> None:
        release = f"spring-kafka-{SPRING}"
        class_path(release, "SpringListeners")
        run.jvm.run(
            release, "SpringListeners", run.bootstrap, scenario, run.unique("spring"), timeout_s=240
        ).ok().prints("ok")


for _scenario, _requires in SPRING_SCENARIOS.items():
    register_spring(_scenario, _requires)


@case("frameworks", SPRING_ROW, "copy-in-transactions-application-and-broker-restarted")
def spring_copy(run: Run) -> None:
    with Pipeline(run, run.own_broker()) as line:
        restarts(line, spring(line, "first"))
        line.assert_copied(exactly=True)


@case(
    "frameworks", SPRING_ROW, "copy-in-transactions-with-the-newer-group-protocol", requires=("ConsumerGroupHeartbeat",)
)
def spring_copy_newer(run: Run) -> None:
    quick = {
        "group.consumer.min.session.timeout.ms": "3000",
        "group.consumer.session.timeout.ms": "6000",
        "group.consumer.min.heartbeat.interval.ms": "300",
        "group.consumer.heartbeat.interval.ms": "500",
    }
    with Pipeline(run, run.own_broker(quick)) as line:
        restarts(line, java(line, f"spring-kafka-{SPRING}", "SpringCopy", "consumer"))
        line.assert_copied(exactly=True)


def spring(line: Pipeline, name: str) -> JavaProcess:
    return java(line, f"spring-kafka-{SPRING}", "SpringCopy", "classic", name=name)


@case("frameworks", SPRING_ROW, "copy-in-transactions-two-applications-one-killed")
def spring_two(run: Run) -> None:
    with Pipeline(run, run.broker) as line:
        first, second = (spring(line, name) for name in ("first", "second"))
        one_of_two_killed(line, first, second)
        line.assert_copied(exactly=True)


def register_copy(row: str, release: str, program: str, guarantee: str) -> None:
    @case("frameworks", row, f"copy-{guarantee}-application-and-broker-restarted")
    def body(run: Run) -> None:
        with Pipeline(run, run.own_broker()) as line:
            restarts(line, java(line, release, program, guarantee))
            line.assert_copied(exactly=guarantee == "exactly-once")


for _guarantee in ("exactly-once", "at-least-once"):
    register_copy(f"reactor-kafka {REACTOR}", f"reactor-kafka-{REACTOR}", "ReactorCopy", _guarantee)
    register_copy(f"smallrye-reactive-messaging-kafka {SMALLRYE}", f"smallrye-{SMALLRYE}", "SmallRyeCopy", _guarantee)
register_copy(f"camel-kafka {CAMEL}", f"camel-{CAMEL}", "CamelCopy", "at-least-once")

# What Flink itself needs from Java 17, from its own start script.
FLINK_OPTIONS = tuple(
    f"--add-opens=java.base/{name}=ALL-UNNAMED"
    for name in ("java.lang", "java.util", "java.net", "java.io", "java.nio", "java.time", "java.util.concurrent")
)


def register_flink(flink: str, title: str, guarantee: str, naming: str) -> None:
    @case("frameworks", f"flink-connector-kafka {FLINK[flink]}", title)
    def body(run: Run) -> None:
        # Flink's transactions may be open for ten minutes, so that they survive its restarts.
        with Pipeline(run, run.own_broker({"transaction.max.timeout.ms": "900000"})) as line:
            folder = str(line.folder("first"))
            app = java(line, f"flink-{flink}", "FlinkCount", folder, guarantee, naming, options=FLINK_OPTIONS)
            restarts(line, app)
            line.assert_counted(exactly=guarantee == "EXACTLY_ONCE")


for _flink in FLINK:
    register_flink(_flink, "count-exactly-once-restarted", "EXACTLY_ONCE", "INCREMENTING")
    register_flink(_flink, "count-exactly-once-with-pooled-transactions-restarted", "EXACTLY_ONCE", "POOLING")
    register_flink(_flink, "count-at-least-once-restarted", "AT_LEAST_ONCE", "INCREMENTING")
