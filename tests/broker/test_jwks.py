"""Key sets from files and URLs, and a login with a signed token at a listener that is set up for it."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from kwire.broker.jwks import Jwks, JwksError, read_jwks
from kwire.metadata.configs.definitions import ConfigProblem
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.image import MetadataImage
from kwire.metadata.settings.sasl import read_sasl
from kwire.security.principal import Principal
from kwire.security.sasl.oauthbearer import InvalidToken

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PREFIX = "listener.name.sasl.oauthbearer."
CLASSES = "org.apache.kafka.common.security.oauthbearer."
SIGNED = f"{CLASSES}OAuthBearerValidatorCallbackHandler"


def document(*kids):
    public = jwt.get_algorithm_by_name("RS256").to_jwk(KEY.public_key(), as_dict=True)
    secret = {"kty": "oct", "k": base64.urlsafe_b64encode(b"x" * 32).decode(), "kid": "secret", "alg": "HS256"}
    return json.dumps({"keys": [secret, *({**public, "kid": kid} for kid in kids)]})


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_text(document("a", "b"))
    return path


class Provider(BaseHTTPRequestHandler):
    kids: tuple[str, ...] = ("a",)
    asked = 0

    def do_GET(self):
        type(self).asked += 1
        self.send_response(200 if self.kids else 500)
        self.end_headers()
        self.wfile.write(document(*self.kids).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def provider():
    handler = type("Handler", (Provider,), {})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_port}/keys"
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


class Now:
    ms = 1_000_000

    def __call__(self):
        return self.ms


def ids(keys):
    return [key.key_id for key in keys]


def test_a_file_has_keys_but_no_secrets(file):
    assert ids(read_jwks(file.as_uri())) == ["a", "b"]
    keys = Jwks(file.as_uri(), 1000, Now())
    assert (ids(keys.keys_for("a")), ids(keys.keys_for(None)), ids(keys.keys_for("c"))) == (["a"], ["a", "b"], [])


@pytest.mark.parametrize("content", ["", "{}", '{"keys": []}', '{"keys": 5}', '{"keys": [{"kty": "RSA"}]}', "[]"])
def test_an_invalid_key_set_is_refused(file, content):
    file.write_text(content)
    with pytest.raises(JwksError, match="is not a key set"):
        read_jwks(file.as_uri())


@pytest.mark.parametrize(("url", "reason"), [("file:///nowhere.json", "cannot be read"), ("ftp://x/y", "is neither a")])
def test_an_unreadable_key_set_is_refused(url, reason):
    with pytest.raises(JwksError, match=reason):
        read_jwks(url)


def test_a_url_is_asked_again_after_the_refresh_time(provider):
    now = Now()
    keys = Jwks(provider.url, 60_000, now)
    assert ids(keys.keys_for("a")) == ids(keys.keys_for("a")) == ["a"]
    assert provider.asked == 1
    now.ms += 60_000
    provider.kids = ("b",)
    assert ids(keys.keys_for("b")) == ["b"]
    assert provider.asked == 2


def test_an_unknown_key_is_looked_for_once_in_ten_seconds(provider):
    now = Now()
    keys = Jwks(provider.url, 3_600_000, now)
    assert ids(keys.keys_for("a")) == ["a"]
    provider.kids = ("a", "b")
    for _ in range(5):
        assert keys.keys_for("b") == []
    assert provider.asked == 1
    now.ms += 10_000
    assert ids(keys.keys_for("b")) == ["b"]
    assert provider.asked == 2


def test_keys_stay_while_the_provider_fails(provider):
    now = Now()
    keys = Jwks(provider.url, 1000, now)
    keys.keys_for("a")
    provider.kids = ()
    now.ms += 20_000
    assert ids(keys.keys_for("a")) == ["a"]


def test_without_any_key_tokens_are_not_valid(provider):
    provider.kids = ()
    keys = Jwks(provider.url, 1000, Now())
    for _ in range(3):
        with pytest.raises(InvalidToken, match="cannot be read"):
            keys.keys_for("a")
    assert provider.asked == 1


# The settings


def settings(**more):
    return {
        "listeners": "PLAINTEXT://:9092,SASL://:9093",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT",
        "listener.name.sasl.sasl.enabled.mechanisms": "OAUTHBEARER",
        f"{PREFIX}sasl.jaas.config": f"{CLASSES}OAuthBearerLoginModule required;",
        **{key.replace("_", "."): value for key, value in more.items()},
    }


SIGNED_TOKENS = {
    f"{PREFIX}sasl.server.callback.handler.class": SIGNED,
    "sasl.oauthbearer.jwks.endpoint.url": "file:///k",
}
EXPECTED = {"sasl.oauthbearer.expected.audience": "kafka", "sasl.oauthbearer.expected.issuer": "me"}


def read(texts):
    return read_sasl(EffectiveConfigs(MetadataImage(), BrokerSettings(texts), node_id=1), "SASL")


def test_tokens_are_unsecured_unless_the_handler_class_checks_signatures():
    assert read(settings()).oauth.jwks_url is None
    assert read({**settings(), **SIGNED_TOKENS, **EXPECTED}).oauth.jwks_url == "file:///k"


@pytest.mark.parametrize("claim", ["audience", "issuer"])
def test_signed_tokens_need_an_expected_audience_and_issuer_or_a_setting_that_takes_any(claim):
    expected = {key: text for key, text in EXPECTED.items() if not key.endswith(claim)}
    with pytest.raises(ConfigProblem, match=f"expected.{claim}, .*allow.unverified.{claim}=true allows that"):
        read({**settings(), **SIGNED_TOKENS, **expected})

    oauth = read(
        {**settings(), **SIGNED_TOKENS, **expected, f"sasl.oauthbearer.allow.unverified.{claim}": "true"}
    ).oauth
    assert (oauth.audiences, oauth.issuer) == (((), "me") if claim == "audience" else (("kafka",), None))


def test_the_options_of_the_login_module_are_read():
    jaas = (
        f'{CLASSES}OAuthBearerLoginModule required unsecuredValidatorPrincipalClaimName="user"'
        ' unsecuredValidatorRequiredScope="a b" unsecuredValidatorAllowableClockSkewMs="5";'
    )
    oauth = read({**settings(), f"{PREFIX}sasl.jaas.config": jaas}).oauth
    assert (oauth.principal_claim, oauth.required_scope, oauth.skew_ms) == ("user", ("a", "b"), 5)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"sasl.oauthbearer.jwks.endpoint.url": "file:///k"}, "The signatures of tokens are not checked without"),
        ({f"{PREFIX}sasl.server.callback.handler.class": SIGNED}, "needs the URL of the keys"),
        ({f"{PREFIX}sasl.server.callback.handler.class": "org.example.Mine"}, "kwire runs no Java code"),
        ({"sasl.oauthbearer.jwt.validator.class": "org.example.Mine"}, "kwire runs no Java code"),
        (
            {f"{PREFIX}sasl.server.callback.handler.class": SIGNED, "sasl.oauthbearer.jwks.endpoint.url": "ftp://x"},
            "needs the URL of the keys",
        ),
    ],
)
def test_invalid_settings_are_refused_with_one_sentence(given, complaint):
    with pytest.raises(ConfigProblem, match=complaint):
        read({**settings(), **given})


async def test_a_signed_token_logs_in(file, start_broker):
    texts = {
        **settings(),
        f"{PREFIX}sasl.server.callback.handler.class": SIGNED,
        "sasl.oauthbearer.jwks.endpoint.url": file.as_uri(),
        **EXPECTED,
    }
    now = int(time.time())
    claims = {"sub": "app", "iat": now, "exp": now + 60, "aud": "kafka", "iss": "me"}
    async with start_broker(**texts) as broker:
        for key, kid, accepted in ((KEY, "a", True), (KEY, "x", False)):
            exchange = broker.authentication.mechanisms("SASL").begin("OAUTHBEARER")
            token = jwt.encode(claims, key, "RS256", headers={"kid": kid})
            message = f"n,,\x01auth=Bearer {token}\x01\x01".encode()
            assert exchange.is_slow(message)
            answer = exchange.evaluate(message)
            assert (answer == b"") is accepted
            assert (exchange.identity is not None) is accepted
            if accepted:
                assert exchange.identity.principal == Principal("User", "app")
