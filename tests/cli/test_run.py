"""`kwire run`: a broker for the length of a command."""

import os
import pty
import signal
import subprocess
import sys

import pytest

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith(("KAFKA_", "KWIRE_"))}


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "kwire", "run", *arguments],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=150,
        check=False,
        **options,
    )


SHOW_TOPICS = """
import os
from kwire.cli.admin.topics import list_topics
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import parse_addresses
assert os.environ["KWIRE_BOOTSTRAP"] == os.environ["KAFKA_BOOTSTRAP_SERVERS"]
with Cluster(parse_addresses(os.environ["KAFKA_BOOTSTRAP_SERVERS"])) as cluster:
    print(sorted((name, len(topic.partitions)) for name, topic in list_topics(cluster).items()))
"""


def test_the_command_finds_the_broker_with_its_topics():
    ended = run("--topic", "a:3", "--topic", "b", "--set", "num.partitions=2", "--", sys.executable, "-c", SHOW_TOPICS)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[('a', 3), ('b', 2)]\n", "")


def test_data_in_a_directory_is_kept_for_the_next_run(tmp_path):
    for _ in range(2):
        ended = run("--data", str(tmp_path), "--topic", "a:3", "--", sys.executable, "-c", SHOW_TOPICS)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[('a', 3)]\n", "")


def test_input_output_and_exit_code_are_those_of_the_command():
    ended = run("sh", "-c", "cat; echo said >&2; exit 7", input="given")

    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "given", "said\n")


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (["no-such-command"], 127, "kwire: no-such-command: command not found\n"),
        (["/etc"], 126, "kwire: /etc: Permission denied\n"),
        (["sh", "-c", "kill -9 $$"], 137, ""),
    ],
)
def test_commands_that_cannot_run_or_are_killed_give_the_exit_code_of_a_shell(command, code, message):
    ended = run("--", *command)

    assert (ended.returncode, ended.stderr) == (code, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "num.partitons=1"], "num.partitons is not a broker setting of Kafka; did you mean num.partitions?"),
        (["--topic", "a:x"], "the number of partitions is 'x'"),
        (["--topic", "a:1:3"], "one broker cannot have 3 replicas"),
        (["--data", "/dev/null"], "kwire: cannot use /dev/null"),
    ],
)
def test_a_broker_that_cannot_start_is_one_sentence_and_the_command_is_not_run(arguments, message):
    ended = run(*arguments, "--", "echo", "run")

    assert (ended.returncode, ended.stdout) == (1, "")
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_passed_on(number):
    script = f"trap 'echo got; exit 3' {int(number)}; echo ready; while :; do sleep 0.05; done"
    command = [sys.executable, "-m", "kwire", "run", "--", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == "got\n"
        assert process.wait(150) == 3


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="the sender of a signal is known on Linux only")
def test_ctrl_c_on_a_terminal_reaches_the_command_once():
    program = (
        "import signal, time; seen = []; signal.signal(2, lambda *_: seen.append(1)); print('ready', flush=True)\n"
    )
    program += "while not seen: time.sleep(0.01)\ntime.sleep(0.3); print(len(seen), flush=True)"
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(
            sys.executable, [sys.executable, "-m", "kwire", "run", "--", sys.executable, "-c", program], ENVIRONMENT
        )
    shown = ""
    while "ready" not in shown:
        shown += os.read(terminal, 100).decode()
    os.write(terminal, b"\x03")
    while "1" not in shown and "2" not in shown:
        shown += os.read(terminal, 100).decode()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    assert shown.replace("^C", "").split() == ["ready", "1"]
