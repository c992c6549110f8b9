"""A secret is never shown: not by ``kwire config``, DescribeConfigs, a refusal, a log line or a traceback."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from peer import Peer

from kwire.broker.start import open_broker
from kwire.cli.main import main
from kwire.cli.settings.settings import SettingsError, gather, show
from kwire.metadata.configs.definitions import ConfigType, broker_keys
from kwire.metadata.configs.effective import BrokerSettings
from kwire.testing import KafkaBroker
from kwire.testing.memory.files import MemoryFiles
from kwire.wire import messages as m

SECRET = "s3cr3t-v4lue"
PASSWORDS = sorted(name for name, key in broker_keys().items() if key.type is ConfigType.PASSWORD)
NAMES = [name for password in PASSWORDS for name in (password, f"listener.name.plaintext.{password}")]


def test_passwords_keys_and_jaas_configs_count_as_secrets():
    assert {"sasl.jaas.config", "delegation.token.secret.key", "ssl.key.password"} <= set(PASSWORDS)


@pytest.mark.parametrize("name", [*NAMES, "my.plugin.password", "listener.name.plaintext.plain.sasl.jaas.config"])
def test_kwire_config_hides_it(tmp_path, name):
    file = tmp_path / "server.properties"
    file.write_text(f"{name}={SECRET}\n")

    outputs = []
    for options in ([], ["--json"], ["--changed"], ["--explain", name]):
        run = CliRunner().invoke(main, ["config", "--config", str(file), *options])
        outputs += [run.output, run.stderr, repr(run.exception)]
    try:
        outputs += [repr(show(gather(file=str(file)))), *(note.text for note in gather(file=str(file)).notes)]
        gather(sets=[f"{name}={SECRET}"])
    except SettingsError as refused:
        outputs.append(str(refused))

    assert [output for output in outputs if SECRET in output] == []


async def test_describe_configs_hides_all_of_them():
    settings = {"log.dirs": "/kwire", **dict.fromkeys(NAMES, SECRET), "my.plugin.password": SECRET}
    async with open_broker(BrokerSettings(settings), MemoryFiles(), endpoints=[Peer.endpoint]) as broker:
        resource = m.DescribeConfigsRequest.DescribeConfigsResource(resource_type=4, resource_name="1")
        request = m.DescribeConfigsRequest(resources=[resource], include_synonyms=True)
        (described,) = (await Peer(broker).call(4, request)).results
    values = {config.name: config for config in described.configs}
    assert set(NAMES) <= set(values)
    assert all(values[name].is_sensitive for name in NAMES)
    assert SECRET not in str([(config.name, config.value, config.synonyms) for config in described.configs])


def test_a_login_and_a_start_do_not_log_it(capfd, tmp_path):
    from kwire.broker import logs

    client = tmp_path / "client.properties"
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    logs.configure(level="debug")
    logged = []
    try:
        with KafkaBroker(users={"alice": SECRET}, config={"delegation.token.secret.key": SECRET}) as broker:
            for user, password in (("alice", SECRET), ("alice", f"{SECRET}-not"), ("eve", SECRET)):
                client.write_text(
                    "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n"
                    f'sasl.jaas.config={module} required username="{user}" password="{password}";\n'
                )
                where = ["-b", broker.bootstrap_servers, "--config", str(client)]
                logged += CliRunner().invoke(main, ["topics", "list", *where]).output.splitlines()
    finally:
        logs.configure(level="warning")
    logged += capfd.readouterr().err.splitlines()
    assert len([line for line in logged if "[kwire.audit]" in line]) == 3
    assert [line for line in logged if SECRET in line] == []


def test_a_wrong_jaas_text_is_refused_without_it():
    jaas = "listener.name.sasl_plaintext.plain.sasl.jaas.config"
    with pytest.raises(SettingsError) as refused:
        gather(
            sets=[
                "listeners=SASL_PLAINTEXT://:1",
                "inter.broker.listener.name=SASL_PLAINTEXT",
                "sasl.enabled.mechanisms=PLAIN",
                f"{jaas}={SECRET} required {SECRET}=x",
            ]
        )
    assert SECRET not in str(refused.value)
