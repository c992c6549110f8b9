"""``kwire scripts``: the twins by name, and installed under their official names."""

import os
import subprocess

import pytest
from click.testing import CliRunner

from kwire.cli import scripts as scripts_module
from kwire.cli.main import main
from kwire.cli.script_twins import TWINS
from kwire.kafka_release import RELEASE

# The folder bin of Apache Kafka 4.4.0.
OFFICIAL_NAMES = """
    connect-distributed connect-mirror-maker connect-plugin-path connect-standalone kafka-acls
    kafka-broker-api-versions kafka-client-metrics kafka-cluster kafka-configs kafka-console-consumer
    kafka-console-producer kafka-console-share-consumer kafka-consumer-groups kafka-consumer-perf-test
    kafka-delegation-tokens kafka-delete-records kafka-dump-log kafka-e2e-latency kafka-features
    kafka-get-offsets kafka-groups kafka-jmx kafka-leader-election kafka-log-dirs kafka-metadata-quorum
    kafka-metadata-shell kafka-producer-perf-test kafka-reassign-partitions kafka-replica-verification
    kafka-run-class kafka-server-start kafka-server-stop kafka-share-consumer-perf-test kafka-share-groups
    kafka-storage kafka-streams-application-reset kafka-streams-groups kafka-topics kafka-transactions
    kafka-verifiable-consumer kafka-verifiable-producer kafka-verifiable-share-consumer trogdor
"""
OFFICIAL = frozenset(OFFICIAL_NAMES.split())


def kwire(*argv):
    return CliRunner().invoke(main, ["scripts", *argv])


def test_scripts_are_listed():
    assert kwire("--list").output.splitlines() == list(TWINS)


def test_a_script_runs_with_and_without_its_ending():
    for name in ("kafka-topics", "kafka-topics.sh"):
        ended = kwire(name, "--version")
        assert (ended.exit_code, ended.output) == (0, f"{RELEASE}\n")


def test_options_of_the_script_are_the_script_s():
    ended = kwire("kafka-topics", "--list", "--help")
    assert ended.exit_code == 1
    assert "Create, list, describe, change and delete topics." in ended.output


def test_exit_codes_are_the_script_s():
    assert kwire("kafka-topics", "--nosuch").exit_code == 1


def test_an_unknown_name_is_refused():
    ended = kwire("kafka-everything")
    assert ended.exit_code == 2
    assert "there is no official script kafka-everything; --list shows the scripts with a twin" in ended.output
    assert "name a script, or use --list or --install DIR" in kwire().output


@pytest.mark.parametrize("name", sorted(scripts_module.NO_TWIN))
def test_an_official_script_without_a_twin_names_the_alternative(name):
    ended = kwire(f"{name}.sh")
    assert ended.exit_code == 2
    assert f"{name} has no twin here: {scripts_module.NO_TWIN[name]}" in " ".join(ended.output.split())


def test_every_official_script_has_a_twin_or_a_reason():
    assert OFFICIAL - TWINS.keys() - scripts_module.NO_TWIN.keys() == set()
    assert TWINS.keys() & scripts_module.NO_TWIN.keys() == set()


def test_all_scripts_are_installed_and_run(tmp_path):
    ended = kwire("--install", str(tmp_path / "bin"))
    assert ended.output == f"{2 * len(TWINS)} scripts in {tmp_path}/bin\n"
    names = {path.name for path in (tmp_path / "bin").iterdir()}
    assert names == {*TWINS, *(f"{name}.sh" for name in TWINS)}
    for name in ("kafka-storage", "kafka-storage.sh"):
        made = subprocess.run(
            [tmp_path / "bin" / name, "random-uuid"], capture_output=True, text=True, cwd="/", check=True
        )
        assert len(made.stdout) == 23
    wrong = subprocess.run(
        [tmp_path / "bin" / "kafka-topics.sh", "--create"], capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 1


def test_a_python_whose_path_no_first_line_can_hold_is_called_through_sh(tmp_path, monkeypatch):
    python = tmp_path / "a path with blanks" / "python"
    python.parent.mkdir()
    python.symlink_to(scripts_module.sys.executable)
    monkeypatch.setattr(scripts_module.sys, "executable", str(python))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(scripts_module.sys.path))
    scripts_module.install(tmp_path / "bin")
    script = tmp_path / "bin" / "kafka-topics.sh"
    assert script.read_text().startswith("#!/bin/sh\n")
    made = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert made.stdout == f"{RELEASE}\n"
