"""Java clients of each release with brokers of kwire that appear as each release, beside the official brokers.

The same program does the same with both brokers and prints what it saw: the lines must be equal.
"""

from interop.brokers import Apache, Kwire
from interop.case import Run, case
from interop.jars import classpath
from interop.java import CLASSES, SOURCES, compile_program
from interop.older_brokers import beside_official
from kwire.personas import names, persona

PROGRAM = SOURCES / "released" / "ReleasedClient.java"
SHARE_PROGRAM = SOURCES / "released" / "ReleasedShare.java"
# What the clients of each release know beside the classic protocol.
PROTOCOLS = {
    "2.8": (), "3.9": ("consumer",), "4.0": ("consumer",), "4.3": ("consumer", "share"), "4.4": ("consumer", "share"),
}  # fmt: skip


def register(broker_name: str) -> None:
    @case("personas", "Java clients of each release", f"as-{broker_name}")
    def body(run: Run) -> None:
        with beside_official(run, broker_name) as (apache, ours):
            apache.start()
            ours.start()
            different = {name: lines for name in names() if (lines := compare(run, name, apache, ours))}
        assert not different, "\n".join(f"client {name}: {line}" for name, lines in different.items() for line in lines)


def compare(run: Run, client_name: str, apache: Apache, ours: Kwire) -> list[str]:
    """Run the clients of a release; give a line for each step of the program that saw something else."""
    client = persona(client_name)
    assert client is not None
    into, jars = CLASSES / f"for-{client.release}", classpath(client.release)
    compile_program(PROGRAM, into, jars)
    if "share" in PROTOCOLS[client_name]:
        compile_program(SHARE_PROGRAM, into, f"{jars}:{into}")

    jobs = []
    for broker in (apache, ours):
        command = ("ReleasedClient", broker.bootstrap, f"by-{client_name}", *PROTOCOLS[client_name])
        jobs.append(run.jvm.start(client.release, *command))
    expected, seen = (job.wait(150).ok().lines for job in jobs)
    for line in seen:
        print(f"client {client_name}: {line[:160]}", flush=True)
    return [f"{one!r} / {two!r}" for one, two in zip(expected, seen, strict=True) if one != two]


for _name in names():
    register(_name)
