"""The twins of the official scripts against a real broker: kafka-configs."""

import pytest


def test_topic_configs_are_set_shown_and_reset(script, topic):
    alter = ("--alter", "--entity-type", "topics", "--entity-name", topic)
    done = f"Completed updating config for topic {topic}.\n"
    added = script("kafka-configs", *alter, "--add-config", "retention.ms=5000,cleanup.policy=[compact,delete]")
    assert added == (0, done, "")
    assert script("kafka-configs", "--describe", "--topic", topic).lines == [
        f"Dynamic configs for topic {topic} are:",
        (
            "  cleanup.policy=compact,delete sensitive=false "
            "synonyms={DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact,delete, DEFAULT_CONFIG:log.cleanup.policy=delete}"
        ),
        "  retention.ms=5000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=5000}",
    ]
    assert script("kafka-configs", *alter, "--delete-config", "retention.ms,cleanup.policy").out == done
    assert len(script("kafka-configs", "--describe", "--topic", topic).lines) == 1
    assert len(script("kafka-configs", "--describe", "--topic", topic, "--all").lines) > 30


def test_configs_come_from_a_file(script, topic, tmp_path):
    (tmp_path / "configs").write_text("retention.ms=77\nmax.message.bytes=2000\n")
    script("kafka-configs", "--alter", "--topic", topic, "--add-config-file", str(tmp_path / "configs"))
    shown = script("kafka-configs", "--describe", "--topic", topic).out
    assert "  max.message.bytes=2000 " in shown
    assert "  retention.ms=77 " in shown


def test_config_refusals_name_the_line_and_the_reason(script, topic):
    refused = script("kafka-configs", "--alter", "--topic", topic, "--add-config", "nosuch=1")
    assert refused.code == 1
    assert refused.err.splitlines()[0].startswith("Error while executing config command with args '--bootstrap-server")
    assert refused.err.splitlines()[1].endswith("InvalidConfigurationException: Unknown topic config name: nosuch")
    missing = script("kafka-configs", "--describe", "--topic", "no-such")
    assert missing == (0, "The topic 'no-such' doesn't exist and doesn't have dynamic config.\n", "")


def test_brokers_have_configs_of_their_own_and_defaults(script):
    script("kafka-configs", "--alter", "--broker", "1", "--add-config", "log.cleaner.threads=2")
    assert "  log.cleaner.threads=2 sensitive=false" in script("kafka-configs", "--describe", "--broker", "1").out
    script("kafka-configs", "--alter", "--broker", "1", "--delete-config", "log.cleaner.threads")
    assert script("kafka-configs", "--describe", "--broker", "1").lines == ["Dynamic configs for broker 1 are:"]
    every = script("kafka-configs", "--describe", "--entity-type", "brokers").lines
    assert "Default configs for brokers in the cluster are:" in every
    assert script("kafka-configs", "--describe", "--broker", "9").out == (
        "The broker '9' doesn't exist and doesn't have dynamic config.\n"
    )


def test_quotas_are_set_for_users_clients_and_defaults(script):
    alter = ("--alter", "--entity-type", "users", "--entity-name", "quota-user")
    script("kafka-configs", *alter, "--add-config", "producer_byte_rate=1024,consumer_byte_rate=2048")
    script(
        "kafka-configs",
        *alter,
        "--entity-type",
        "clients",
        "--entity-name",
        "c",
        "--add-config",
        "request_percentage=5",
    )
    script(
        "kafka-configs", "--alter", "--user", "quota-user", "--client-defaults", "--add-config", "request_percentage=7"
    )
    assert script("kafka-configs", "--describe", "--user", "quota-user").out == (
        "Quota configs for user-principal 'quota-user' are consumer_byte_rate=2048.0, producer_byte_rate=1024.0\n"
    )
    both = script("kafka-configs", "--describe", "--user", "quota-user", "--entity-type", "clients").lines
    assert sorted(both) == [
        "Quota configs for user-principal 'quota-user', client-id 'c' are request_percentage=5.0",
        "Quota configs for user-principal 'quota-user', the default client-id are request_percentage=7.0",
    ]
    script("kafka-configs", *alter, "--delete-config", "producer_byte_rate,consumer_byte_rate")
    assert script("kafka-configs", "--describe", "--user", "quota-user").out == ""


def test_scram_credentials_are_set_shown_and_deleted(script):
    alter = ("--alter", "--entity-type", "users", "--entity-name", "scram-user")
    script("kafka-configs", *alter, "--add-config", "SCRAM-SHA-256=[iterations=8192,password=secret]")
    script("kafka-configs", *alter, "--add-config", "SCRAM-SHA-512=[password=secret]")
    said, _, credentials = script("kafka-configs", "--describe", "--user", "scram-user").out.partition(" are ")
    assert said == "SCRAM credential configs for user-principal 'scram-user'"
    assert sorted(credentials.strip().split(", ")) == [
        "SCRAM-SHA-256=iterations=8192",
        "SCRAM-SHA-512=iterations=4096",
    ]
    script("kafka-configs", *alter, "--delete-config", "SCRAM-SHA-256")
    assert "SHA-256" not in script("kafka-configs", "--describe", "--user", "scram-user").out
    weak = script("kafka-configs", *alter, "--add-config", "SCRAM-SHA-256=[iterations=1,password=x]")
    assert weak.err == "Iterations 1 is less than the minimum 4096 required for SCRAM-SHA-256\n"


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--describe"], "At least one entity type must be specified"),
        (
            ["--describe", "--entity-type", "odd"],
            "Invalid entity type odd, the entity type must be one of broker-loggers, topics",
        ),
        (["--describe", "--topic", "t", "--entity-type", "topics"], "Duplicate entity type(s) specified: topics"),
        (["--alter", "--topic", "t"], "At least one of --add-config, --add-config-file, or --delete-config"),
        (
            ["--alter", "--entity-type", "topics", "--add-config", "a=b"],
            "An entity name must be specified with --alter",
        ),
        (["--alter", "--topic", "t", "--add-config", "a"], "Invalid entity config: all configs to be added must be in"),
        (["--describe", "--broker", "x"], "must be a valid integer broker id, but it is: x"),
        (["--alter", "--client", "c", "--add-config", "a=1"], "Unexpected config names: a"),
        (
            ["--alter", "--user", "u", "--add-config", "SCRAM-SHA-512=[password=x],producer_byte_rate=5"],
            "Cannot alter both quota and SCRAM credential configs simultaneously",
        ),
    ],
)
def test_invalid_lines_of_configs_are_refused(script, argv, complaint):
    ended = script("kafka-configs", *argv)
    assert ended.code == 1
    assert complaint in ended.err
