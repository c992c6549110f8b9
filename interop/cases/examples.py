"""The examples of tests in other languages, against a broker under control."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interop.brokers import PYTHON
from interop.case import Run, Skip, case
from interop.cases.clients_other import CLIENTS, kafkajs
from interop.jars import ROOT, TOOLS, classpath, need

EXAMPLES = ROOT / "examples" / "faults"


@contextmanager
def under_control(run: Run) -> Iterator[dict[str, str]]:
    """Run a broker; yields the environment in which the examples find it."""
    if run.target != "kwire":
        raise Skip("control is kwire's")
    command = [PYTHON, "-P", "-m", "kwire", "serve", "--memory", "--topic", "orders", "--port", "0", "--control", "0"]
    with (run.folder / "kwire.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        ready, control = process.stdout.readline(), process.stdout.readline()
        address = re.fullmatch(r"ready PLAINTEXT://(.*)\n", ready)
        url = re.fullmatch(r"control (http://.*)\n", control)
        assert address, ready
        assert url, control
        yield {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": address[1], "KWIRE_CONTROL_URL": url[1]}
    finally:
        process.terminate()
        process.wait(30)


@case("faults", "examples", "node")
def node(run: Run) -> None:
    kafkajs()
    program = TOOLS / "kafkajs" / "orders.test.mjs"
    shutil.copy(EXAMPLES / "orders.test.mjs", program)
    with under_control(run) as env:
        run.program([need("node"), "--test", str(program)], env=env, cwd=program.parent).ok()


@case("faults", "examples", "go")
def go(run: Run) -> None:
    folder = TOOLS / "go-example"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("go.mod", "go.sum"):
        shutil.copy(CLIENTS / "go" / name, folder / name)
    shutil.copy(EXAMPLES / "go" / "orders_test.go", folder / "orders_test.go")
    with under_control(run) as env:
        run.program([need("go"), "test", "-count=1", "./..."], env=env, cwd=folder).ok()


@case("faults", "examples", "java")
def java(run: Run) -> None:
    if run.target != "kwire":
        raise Skip("control is kwire's")
    jars = classpath("junit")
    classes = run.folder / "classes"
    run.program([need("javac"), "-cp", jars, "-d", str(classes), str(EXAMPLES / "java" / "OrdersTest.java")]).ok()
    launcher = "org.junit.platform.console.ConsoleLauncher"
    command = [need("java"), "-cp", jars, launcher, "execute", "--class-path", str(classes), "--scan-class-path"]
    env = {**os.environ, "KWIRE": str(Path(PYTHON).with_name("kwire"))}
    run.program(command, env=env).ok().prints("1 tests successful")
