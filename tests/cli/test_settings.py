from __future__ import annotations

import pytest

from kwire.cli.settings.settings import LISTENERS, LOG_DIRS, Setting, SettingsError, gather, show

MAP = "listener.security.protocol.map=INSIDE:PLAINTEXT,OUT:PLAINTEXT,PLAINTEXT:PLAINTEXT"


def notes(settings, level="warning"):
    return [note.text for note in settings.notes if note.level == level]


def texts(settings):
    return {key: setting.text for key, setting in settings.chosen.items()}


@pytest.fixture
def file(tmp_path):
    def write(content: str) -> str:
        path = tmp_path / "server.properties"
        path.write_bytes(content.encode("latin-1"))
        return str(path)

    return write


def test_defaults_are_localhost_and_data_in_the_current_directory():
    assert texts(gather()) == {"listeners": LISTENERS, "log.dirs": LOG_DIRS}


def test_a_flag_beats_the_environment_which_beats_the_file(file):
    path = file("num.partitions=1\nlog.retention.hours=1\nlog.segment.bytes=2000000")

    settings = gather(
        file=path,
        environment={"KAFKA_NUM_PARTITIONS": "2", "KAFKA_LOG_RETENTION_HOURS": "2"},
        sets=["num.partitions=3"],
    )

    assert settings.chosen["num.partitions"] == Setting("3", "--set")
    assert settings.chosen["log.retention.hours"] == Setting("2", "KAFKA_LOG_RETENTION_HOURS")
    assert settings.chosen["log.segment.bytes"] == Setting("2000000", path)


def test_a_file_is_read_as_java_reads_it(file):
    path = file("# comment\nbroker.rack : caf\\u00e9 \\\n   two\nlog.dirs=/a, /b\n! another\nnum.partitions 4\n")

    assert texts(gather(file=path, listen=["PLAINTEXT://:1"])) == {
        "listeners": "PLAINTEXT://:1",
        "broker.rack": "café two",
        "log.dirs": "/a, /b",
        "num.partitions": "4",
    }


@pytest.mark.parametrize(
    ("variable", "key"),
    [
        ("KAFKA_LOG_DIRS", "log.dirs"),
        ("KAFKA_NUM_PARTITIONS", "num.partitions"),
        ("KAFKA_LISTENER_NAME_OUT_MAX_CONNECTIONS", "listener.name.out.max.connections"),
    ],
)
def test_a_variable_is_a_key_as_the_official_image_maps_it(variable, key):
    assert gather(environment={variable: "7"}).chosen[key] == Setting("7", variable)


def test_two_underscores_are_one_and_three_are_a_dash():
    settings = gather(environment={"KAFKA_LISTENER_NAME_MY__OWN___ONE_MAX_CONNECTIONS": "7"})

    assert "listener.name.my_own-one.max.connections" in settings.chosen


def test_variables_that_are_not_settings_are_reported_in_one_line():
    settings = gather(environment={"KAFKA_OPTS": "-Dx", "KAFKA_VERSION": "9", "KAFKA_HEAP_OPTS": "-Xmx1g", "HOME": "/"})

    assert notes(settings) == []
    (line,) = notes(settings, "info")
    assert "KAFKA_HEAP_OPTS, KAFKA_OPTS, KAFKA_VERSION" in line


def test_the_environment_is_left_alone_unless_it_is_asked_for(monkeypatch):
    monkeypatch.setenv("KAFKA_NUM_PARTITIONS", "7")

    assert "num.partitions" not in gather().chosen


def test_cluster_id_comes_from_the_environment():
    assert gather(environment={"CLUSTER_ID": "MkU3OEVBNTcwNTJENDM2Qk"}).cluster_id == "MkU3OEVBNTcwNTJENDM2Qk"
    assert gather(environment={"CLUSTER_ID": ""}).cluster_id is None
    assert gather().cluster_id is None


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("num.partitons=3", r"num\.partitons .*did you mean num\.partitions\?"),
        ("log.retention.hour=3", r"did you mean log\.retention\.hours\?"),
        ("qqq=3", r"qqq \(--set\) is not a broker setting of Kafka$"),
        ("num.partitions", "write KEY=VALUE"),
        ("=3", "write KEY=VALUE"),
        ("num.partitions=many", r"num\.partitions=many \(--set\): .*INT; accepted: a whole number"),
        ("log.retention.ms=soon", r"^log\.retention\.ms=soon .*LONG; accepted: .*, or a duration such as 1d$"),
        ("num.partitions=0", r"^num\.partitions=0 \(--set\): Value must be at least 1; accepted: 1 or more$"),
        ("compression.type=rar", r"compression\.type=rar .*accepted: .*zstd"),
        ("remote.log.storage.system.enable=true", "tiered storage is not served"),
        ("process.roles=broker", r"node\.id=1: Missing required configuration .*accepted: a number"),
        ("process.roles=both", r"process\.roles=both .*accepted: .*broker"),
    ],
)
def test_a_wrong_flag_is_an_error_with_the_accepted_values(flag, sentence):
    with pytest.raises(SettingsError, match=sentence):
        gather(sets=[flag])


def test_an_unknown_key_in_a_file_is_a_warning_with_the_nearest_name_and_strictly_an_error(file):
    path = file("num.partitons=3\nsome.plugin.key=1")

    unknown, other = notes(gather(file=path))

    assert "num.partitons" in unknown
    assert "did you mean num.partitions?" in unknown
    assert "some.plugin.key" in other
    with pytest.raises(SettingsError, match=r"num\.partitons"):
        gather(file=path, strict=True)


def test_a_setting_that_is_not_served_is_a_warning_unless_it_has_its_default(file):
    path = file("remote.log.storage.system.enable=true\ndelegation.token.expiry.time.ms=86400000")

    (warning,) = notes(gather(file=path))

    assert "remote.log.storage.system.enable=true" in warning
    with pytest.raises(SettingsError):
        gather(file=path, strict=True)


def test_a_wrong_value_in_a_file_stops_the_start(file):
    path = file("log.segment.bytes=12")

    with pytest.raises(SettingsError, match=rf"log\.segment\.bytes=12 \({path}\).*accepted: 1048576 or more"):
        gather(file=path)


STANDARD = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"


def test_an_authorizer_that_is_not_kafkas_own_is_refused_from_every_source(file):
    with pytest.raises(SettingsError, match=r"authorizer\.class\.name=x\.Y.*could not be found"):
        gather(file=file("authorizer.class.name=x.Y"))
    with pytest.raises(SettingsError, match=r"KAFKA_AUTHORIZER_CLASS_NAME"):
        gather(environment={"KAFKA_AUTHORIZER_CLASS_NAME": "x.Y"})


def test_the_settings_of_the_authorizer_are_taken_from_files_variables_and_flags(file):
    lines = f"authorizer.class.name={STANDARD}\nsuper.users=User:a;User:b\n"
    from_file = gather(file=file(lines), strict=True)
    from_variables = gather(
        environment={"KAFKA_AUTHORIZER_CLASS_NAME": STANDARD, "KAFKA_ALLOW_EVERYONE_IF_NO_ACL_FOUND": "true"}
    )
    from_flags = gather(sets=[f"authorizer.class.name={STANDARD}", "super.users=User:admin"])

    assert from_file.chosen["super.users"].text == "User:a;User:b"
    assert from_variables.chosen["allow.everyone.if.no.acl.found"].text == "true"
    assert from_flags.chosen["super.users"].text == "User:admin"
    assert not from_file.notes
    assert not from_flags.notes
    (note,) = from_variables.notes
    assert note.text.startswith("no super.users with this authorizer")


def test_super_users_without_a_type_stop_the_start():
    with pytest.raises(SettingsError, match=r"super\.users=admin.*principalType:principalName.*accepted: principals"):
        gather(sets=[f"authorizer.class.name={STANDARD}", "super.users=admin"])


def test_super_users_without_an_authorizer_warn():
    (note,) = gather(sets=["super.users=User:admin"]).notes

    assert note.level == "warning"
    assert "super.users (--set) has no effect without authorizer.class.name" in note.text


def test_a_retired_setting_warns_and_names_its_successor(file):
    path = file(
        "zookeeper.connect=localhost:2181\nzookeeper.ssl.client.enable=true\nlog.message.format.version=2.8\nport=9092"
    )

    settings = gather(file=path, environment={"KAFKA_ZOOKEEPER_CONNECT": "zookeeper:2181"}, strict=True)

    said = "\n".join(notes(settings))
    assert "zookeeper.connect (KAFKA_ZOOKEEPER_CONNECT) is not a setting of Kafka any more; use" in said
    assert "log.message.format.version" in said
    assert "zookeeper.ssl.client.enable" in said
    assert "it can be left out" in said
    assert "; use listeners instead" in said
    assert texts(settings) == texts(gather())


# The file that Apache Kafka 4.3 ships as config/server.properties, without its comments.
KRAFT_FILE = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
"""


def test_a_stock_kraft_file_gives_no_warning_even_with_strict(file):
    settings = gather(file=file(KRAFT_FILE), strict=True)

    assert settings.notes == []
    assert settings.chosen["log.dirs"].text == "/tmp/kraft-combined-logs"


def test_a_replication_factor_above_one_is_a_warning(file):
    path = file("offsets.topic.replication.factor=3\ndefault.replication.factor=1\nmin.insync.replicas=2")

    (factor,) = notes(gather(file=path, strict=True))

    assert (
        factor
        == f"offsets.topic.replication.factor=3 ({path}), but there is only one broker: consumer groups will not work"
    )


@pytest.mark.parametrize("role", ["broker", "controller"])
def test_the_replication_factors_of_a_cluster_are_no_warning(file, role):
    listener = "PLAINTEXT" if role == "broker" else "CONTROLLER"
    path = file(
        f"process.roles={role}\nnode.id=4\nlisteners={listener}://:9092\ncontroller.listener.names=CONTROLLER\n"
        "controller.quorum.bootstrap.servers=controller:9093\ndefault.replication.factor=3\n"
        "offsets.topic.replication.factor=3\ntransaction.state.log.replication.factor=3\n"
    )

    assert gather(file=path, strict=True).notes == []


def test_a_broker_that_others_can_join_has_no_warning_of_replication_factors(file):
    path = file(
        "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ncontroller.listener.names=CONTROLLER\n"
        "transaction.state.log.replication.factor=3\n"
    )

    assert notes(gather(file=path)) == []


def test_a_broker_id_is_a_node_id():
    assert texts(gather(sets=["broker.id=5"]))["node.id"] == "5"
    assert texts(gather(sets=["node.id=6"]))["broker.id"] == "6"


def test_different_broker_and_node_ids_are_an_error_with_both_sources(file):
    with pytest.raises(SettingsError, match=r"node\.id=3 \(--set\) and broker\.id=4 \(.*server\.properties\)"):
        gather(file=file("broker.id=4"), sets=["node.id=3"])


def test_listen_may_be_repeated_and_may_leave_out_the_name():
    settings = gather(listen=["localhost:9092", "OUT://:9093"], sets=["listeners=PLAINTEXT://:1", MAP])

    assert settings.chosen["listeners"] == Setting("PLAINTEXT://localhost:9092,OUT://:9093", "--listen")


def test_listen_with_a_port_alone_is_this_machine_only():
    assert gather(listen=["9093"]).chosen["listeners"].text == "PLAINTEXT://localhost:9093"


def test_a_default_yields_to_every_other_source(file):
    defaults = ["listeners=PLAINTEXT://0.0.0.0:9092", "log.dirs=/data", "num.partitions=2"]

    alone = gather(defaults=defaults)
    beside = gather(
        defaults=defaults,
        environment={"KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://kafka:29092"},
        file=file("log.dir=/mine\nnum.partitions=3"),
    )

    assert texts(alone) == dict(default.split("=", 1) for default in defaults)
    assert beside.chosen["listeners"] == Setting("PLAINTEXT://:29092", "advertised.listeners")
    assert "log.dirs" not in beside.chosen
    assert beside.chosen["num.partitions"].text == "3"


def test_a_default_must_be_a_setting():
    with pytest.raises(SettingsError, match=r"num\.partitons \(--default\)"):
        gather(defaults=["num.partitons=3"])


def test_topics_are_read_from_flag_and_environment():
    settings = gather(topics=["a:3"], environment={"KAFKA_CREATE_TOPICS": "b:2:1:compact,\n c"})

    shown = [
        (each.topic.name, each.topic.partitions, dict(each.topic.configs), each.source) for each in settings.topics
    ]
    assert shown == [
        ("b", 2, {"cleanup.policy": "compact"}, "KAFKA_CREATE_TOPICS"),
        ("c", -1, {}, "KAFKA_CREATE_TOPICS"),
        ("a", 3, {}, "--topic"),
    ]


def test_data_beats_every_directory_of_the_other_sources(file):
    settings = gather(data="/mine", file=file("log.dir=/a\nlog.dirs=/b,/c"))

    assert texts(settings)["log.dirs"] == "/mine"
    assert "log.dir" not in settings.chosen


def test_a_directory_of_the_file_is_not_hidden_by_the_default(file):
    assert "log.dirs" not in gather(file=file("log.dir=/a")).chosen


def test_advertised_listeners_alone_listen_on_their_ports_on_every_interface():
    environment = {"KAFKA_ADVERTISED_LISTENERS": "INSIDE://kafka:29092,OUT://localhost:9092"}

    settings = gather(environment=environment, sets=[MAP])

    assert settings.chosen["listeners"] == Setting("INSIDE://:29092,OUT://:9092", "advertised.listeners")
    assert settings.chosen["inter.broker.listener.name"] == Setting("INSIDE", "advertised.listeners")


def test_listen_leaves_the_controllers_listener_of_a_file(file):
    path = file("listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ncontroller.listener.names=CONTROLLER")

    settings = gather(file=path, listen=["9095"])

    assert settings.chosen["listeners"].text == "PLAINTEXT://localhost:9095,CONTROLLER://:9093"


def test_settings_that_break_a_rule_between_them_are_one_sentence_with_their_source(file):
    path = file("log.retention.hours=0")

    with pytest.raises(
        SettingsError, match=rf"^log\.retention\.hours=0 \({path}\): log\.retention\.ms must be unlimited"
    ):
        gather(file=path)


def test_a_missing_file_is_one_sentence():
    with pytest.raises(SettingsError, match="cannot read /nowhere/x: No such file"):
        gather(file="/nowhere/x")


def test_a_file_that_is_not_a_properties_file_is_one_sentence(file):
    with pytest.raises(SettingsError, match="is not a properties file"):
        gather(file=file("a=\\uZZZZ"))


def test_every_setting_is_shown_with_its_value_and_where_it_came_from():
    lines = {line.key: line for line in show(gather(sets=["num.partitions=3"]))}

    assert len(lines) > 300
    assert lines["num.partitions"][1:] == ("3", "--set", "")
    assert lines["log.segment.bytes"][1:] == ("1073741824", "default", "")
    assert lines["offsets.topic.replication.factor"][1:3] == ("1", "kwire's default")
    assert lines["log.dirs"][1:3] == ("kwire-data", "kwire's default")
    assert "not served" in lines["remote.log.storage.system.enable"].remark
    assert "means nothing here" in lines["num.io.threads"].remark


def test_secrets_are_not_shown(file):
    path = file("ssl.key.password=swordfish")
    settings = gather(file=path)
    lines = {line.key: line for line in show(settings)}

    assert lines["ssl.key.password"].value == "[hidden]"
    assert "swordfish" not in str(settings.notes)


def test_a_key_that_kafka_does_not_know_is_shown_as_such(file):
    lines = {line.key: line for line in show(gather(file=file("my.key=1")))}

    assert lines["my.key"][1:] == ("[hidden]", file("my.key=1"), "unknown to Kafka")


PROVIDER = "org.apache.kafka.common.config.provider."


def test_values_come_from_config_providers(file, tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "rack").write_text("r1")
    secrets = tmp_path / "secrets.properties"
    secrets.write_text("partitions=7\n")
    path = file(
        f"config.providers=env,file,dir\nconfig.providers.env.class={PROVIDER}EnvVarConfigProvider\n"
        f"config.providers.file.class={PROVIDER}FileConfigProvider\n"
        f"config.providers.dir.class={PROVIDER}DirectoryConfigProvider\n"
        f"num.partitions=${{file:{secrets}:partitions}}\nlog.dirs=/data/${{env:WHERE}}/x\n"
        f"broker.rack=${{dir:{tmp_path}/secrets:rack}}"
    )

    settings = gather(file=path, environment={"WHERE": "here"})

    chosen = texts(settings)
    assert (chosen["num.partitions"], chosen["log.dirs"], chosen["broker.rack"]) == ("7", "/data/here/x", "r1")
    assert notes(settings) == []


@pytest.mark.parametrize(
    ("lines", "reference", "complaint"),
    [
        (
            "",
            "${env:PARTITIONS}",
            "there is no config provider env: set config.providers=env and config.providers.env.cl",
        ),
        ("config.providers=env", "1", "config.providers.env.class is missing"),
        ("config.providers=env\nconfig.providers.env.class=org.example.Vault", "1", "is not served"),
        ("env=EnvVar", "${env:MISSING}", "the environment variable MISSING is not set"),
        ("env=EnvVar\nconfig.providers.env.param.allowlist.pattern=A.*", "${env:B}", "does not allow B"),
        ("env=EnvVar\nconfig.providers.env.param.allowlist.pattern=*", "1", "is not a regular expression"),
        ("file=File", "${file:/nowhere:key}", "cannot read /nowhere"),
        ("file=File", "${file:key}", "write ${NAME:FILE:KEY}"),
        (
            "file=File\nconfig.providers.file.param.allowed.paths=/a",
            "${file:/a/../b:key}",
            "is not below allowed.paths=/a",
        ),
        ("dir=Directory", "${dir:/nowhere:key}", "cannot read /nowhere/key"),
        ("dir=Directory", "${dir:/nowhere:../key}", "is not the name of a file"),
    ],
)
def test_a_reference_without_a_value_is_refused_in_a_sentence(file, lines, reference, complaint):
    first, _, rest = lines.partition("\n")
    name, equals, kind = first.partition("=")
    if equals and name != "config.providers":
        first = f"config.providers={name}\nconfig.providers.{name}.class={PROVIDER}{kind}ConfigProvider"
    path = file(f"{first}\n{rest}\nnum.partitions={reference}")

    with pytest.raises(SettingsError) as refused:
        gather(file=path, environment={"B": "s3cret"})
    assert complaint in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_users_log_in_at_a_sasl_listener():
    settings = gather(users=["alice:secret", "bob:a:b"])

    assert settings.users == {"alice": "secret", "bob": "a:b"}
    chosen = texts(settings)
    assert chosen["listeners"] == "SASL_PLAINTEXT://localhost:9092"
    assert chosen["sasl.enabled.mechanisms"] == "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
    assert chosen["inter.broker.listener.name"] == "SASL_PLAINTEXT"
    jaas = chosen["listener.name.sasl_plaintext.plain.sasl.jaas.config"]
    assert jaas.endswith('PlainLoginModule required user_alice="secret" user_bob="a:b";')
    assert {line.value for line in show(settings) if "jaas" in line.key and line.source == "--user"} == {"[hidden]"}


@pytest.mark.parametrize(
    ("listen", "listeners"),
    [
        (["9093"], "SASL_PLAINTEXT://localhost:9093"),
        (["0.0.0.0:9093"], "SASL_PLAINTEXT://0.0.0.0:9093"),
        (["PLAINTEXT://:1", "SASL_PLAINTEXT://:2"], "PLAINTEXT://:1,SASL_PLAINTEXT://:2"),
    ],
)
def test_a_listener_without_a_name_has_a_login_where_there_are_users(listen, listeners):
    assert texts(gather(users=["alice:secret"], listen=listen))["listeners"] == listeners


def test_users_at_a_listener_of_another_name():
    settings = gather(
        users=["alice:secret"],
        sets=[
            "listeners=OUT://:1",
            "listener.security.protocol.map=OUT:SASL_PLAINTEXT",
            "inter.broker.listener.name=OUT",
        ],
    )

    assert "listener.name.out.scram-sha-512.sasl.jaas.config" in settings.chosen


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"users": ["alice"]}, "--user takes NAME:PASSWORD"),
        ({"users": [":s3cret"]}, "--user takes NAME:PASSWORD"),
        (
            {"users": ["a:s3cret"], "sets": ["listeners=PLAINTEXT://:1"]},
            "--user needs a listener at which clients log in",
        ),
        (
            {"users": ["a:s3cret"], "sets": ["listener.name.sasl_plaintext.plain.sasl.jaas.config=x"]},
            "both name users: use one of them",
        ),
    ],
)
def test_invalid_users_are_refused(arguments, complaint):
    with pytest.raises(SettingsError) as refused:
        gather(**arguments)
    assert complaint in str(refused.value)
    assert "s3cret" not in str(refused.value)


SASL_LISTENER = {
    "KAFKA_LISTENERS": "SASL_PLAINTEXT://:1",
    "KAFKA_INTER_BROKER_LISTENER_NAME": "SASL_PLAINTEXT",
    "KAFKA_SASL_ENABLED_MECHANISMS": "PLAIN",
    "KAFKA_SASL_MECHANISM_INTER_BROKER_PROTOCOL": "PLAIN",
}
MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"


def test_a_jaas_configuration_in_a_variable():
    variable = "KAFKA_LISTENER_NAME_SASL__PLAINTEXT_PLAIN_SASL_JAAS_CONFIG"
    settings = gather(environment={**SASL_LISTENER, variable: f'{MODULE} required user_alice="secret";'})

    key = "listener.name.sasl_plaintext.plain.sasl.jaas.config"
    assert settings.chosen[key] == Setting(f'{MODULE} required user_alice="secret";', variable)


@pytest.mark.parametrize("context", ["KafkaServer", "sasl_plaintext.KafkaServer"])
def test_the_jaas_file_of_kafka_opts_is_read(file, context):
    path = file(f'{context} {{ {MODULE} required user_alice="secret"; }};')

    settings = gather(
        environment={**SASL_LISTENER, "KAFKA_OPTS": f"-Xmx1g -Djava.security.auth.login.config={path} -Dx=y"}
    )

    key = "listener.name.sasl_plaintext.plain.sasl.jaas.config"
    assert settings.chosen[key] == Setting(f'{MODULE} required user_alice="secret";', path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "cannot read /nowhere (KAFKA_OPTS)"), ("KafkaServer { s3cret", "is not a JAAS file")],
)
def test_a_jaas_file_that_cannot_be_read_is_refused(file, content, complaint):
    path = "/nowhere" if content is None else file(content)

    with pytest.raises(SettingsError) as refused:
        gather(environment={**SASL_LISTENER, "KAFKA_OPTS": f"-Djava.security.auth.login.config={path}"})
    assert complaint in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        ("", "would serve GSSAPI (Kerberos), Kafka's default, which kwire does not have"),
        ("sasl.enabled.mechanisms=PLAIN,DIGEST-MD5", "no JAAS configuration is given for it"),
        ("sasl.enabled.mechanisms=DIGEST-MD5", "the SASL mechanism DIGEST-MD5, which kwire does not have"),
        ("sasl.enabled.mechanisms=PLAIN", "no JAAS configuration is given for it"),
        ("sasl.enabled.mechanisms=PLAIN\nsasl.jaas.config=s3cret", "a sasl.jaas.config without prefix is not read"),
        ("listener.name.sasl_plaintext.sasl.enabled.mechanisms=PLAIN", "no JAAS configuration is given for it"),
        ("sasl.enabled.mechanisms=PLAIN\n{jaas}=s3cret required", "not terminated by semi-colon"),
        ("sasl.enabled.mechanisms=PLAIN\n{jaas}=org.Other required a='s3cret';", "org.Other does not belong to PLAIN"),
        (
            "sasl.enabled.mechanisms=PLAIN\n{jaas}=org.apache.kafka.common.security.plain.PlainLoginModule required;",
            "sasl.mechanism.inter.broker.protocol must be included in sasl.enabled.mechanisms",
        ),
    ],
)
def test_a_sasl_listener_that_cannot_be_served_is_refused_in_a_sentence(file, texts, complaint):
    jaas = "listener.name.sasl_plaintext.plain.sasl.jaas.config"
    path = file(
        "listeners=SASL_PLAINTEXT://:1\ninter.broker.listener.name=SASL_PLAINTEXT\n" + texts.replace("{jaas}", jaas)
    )

    with pytest.raises(SettingsError) as refused:
        gather(file=path)
    assert complaint in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("flag", ["sets", "defaults"])
def test_a_flag_takes_a_duration_for_a_setting_in_milliseconds(flag):
    settings = gather(**{flag: ["log.retention.ms=1d", "log.cleaner.backoff.ms=15s", "num.partitions=3"]})

    assert {
        key: settings.chosen[key].text for key in ("log.retention.ms", "log.cleaner.backoff.ms", "num.partitions")
    } == {
        "log.retention.ms": "86400000",
        "log.cleaner.backoff.ms": "15000",
        "num.partitions": "3",
    }


def test_a_file_takes_no_duration_as_kafka_takes_none(file):
    with pytest.raises(SettingsError, match=r"^log\.retention\.ms=1d \(.*\): Not a number of type LONG"):
        gather(file=file("log.retention.ms=1d\n"))
