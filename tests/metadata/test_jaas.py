import pytest

from kwire.metadata.settings.jaas import JaasError, LoginModule, login_module_text, parse_file, parse_login_module

PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (f"{PLAIN} required;", {}),
        (f'{PLAIN} required username="admin" user_alice="a b";', {"username": "admin", "user_alice": "a b"}),
        (f"{PLAIN} required\n  username=admin\n  user_a='it\"s';", {"username": "admin", "user_a": 'it"s'}),
        (f'{PLAIN} required // a comment\n /* another */ username="a";', {"username": "a"}),
        (f'{PLAIN} REQUIRED user_x="\\"quoted\\" \\\\ \\n \\101";', {"user_x": '"quoted" \\ \n A'}),
        (f'{PLAIN} optional user_my-user="1" user_a.b="2";', {"user_my-user": "1", "user_a.b": "2"}),
        (f'{PLAIN} sufficient "user_with space"="1";', {"user_with space": "1"}),
        (f'{PLAIN} requisite user_é="ü";', {"user_é": "ü"}),
        (f'{PLAIN} required user_alice="a;b=c";', {"user_alice": "a;b=c"}),
    ],
)  # fmt: skip
def test_a_login_module_is_read_as_java_reads_it(text, options):
    assert parse_login_module(text) == LoginModule(PLAIN, options)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "Login module not specified in JAAS config"),
        ("   // nothing", "Login module not specified"),
        (PLAIN, "Login module control flag not specified"),
        (f"{PLAIN} ;", "control flag is not available"),
        (f'{PLAIN} username="s3cret";', "Invalid login module control flag 'username'"),
        (f'{PLAIN} required username="s3cret"', "not terminated by semi-colon"),
        (f"{PLAIN} required username=;", "Value not specified for key 'username'"),
        (f"{PLAIN} required username;", "Value not specified for key 'username'"),
        (f"{PLAIN} required password=12s3cret;", "must be in quotes"),
        (f'{PLAIN} required password="s3cret;', "Value not specified for key 'password'"),
        (f"{PLAIN} required; {SCRAM} required;", "contains 2 login modules, should be 1 module"),
    ],
)
def test_text_that_does_not_parse_is_refused_in_a_sentence_without_values(text, complaint):
    with pytest.raises(JaasError, match=complaint) as refused:
        parse_login_module(text)
    assert "s3cret" not in str(refused.value)


def test_a_module_that_was_written_is_read_as_it_was():
    module = LoginModule(PLAIN, {"user_alice": 'a"b\\c\nd', "user_two words": "x", "user_é": ""})

    assert parse_login_module(login_module_text(module)) == module


def test_a_file_has_entries_in_contexts():
    text = f"""
    // pasted
    KafkaServer {{
        {PLAIN} required user_alice="1";
        {SCRAM} required;
    }};
    external.KafkaServer {{ {SCRAM} required; }};
    """

    assert parse_file(text) == {
        "KafkaServer": [LoginModule(PLAIN, {"user_alice": "1"}), LoginModule(SCRAM, {})],
        "external.KafkaServer": [LoginModule(SCRAM, {})],
    }


@pytest.mark.parametrize(
    "text", ["KafkaServer", "KafkaServer {", f"KafkaServer {{ {PLAIN} required; }}", "{ };", "= ;"]
)
def test_a_file_that_does_not_parse_is_refused(text):
    with pytest.raises(JaasError):
        parse_file(text)
