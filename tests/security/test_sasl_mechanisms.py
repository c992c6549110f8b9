"""The server's side of each SASL mechanism: what it accepts, and the reason of each refusal."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramMechanism

from kwire.security.principal import Principal
from kwire.security.sasl.exchange import Identity, Refused
from kwire.security.sasl.plain import PlainExchange
from kwire.security.sasl.scram import Credentials, ScramExchange, TokenCredential
from kwire.security.sasl.scram_client import ScramClient, ScramRefused
from kwire.security.sasl.scram_keys import Credential, make_credential, random_text

USERS = {"alice": "alice-secret", "ünï": "pä"}
INVALID = "Authentication failed: Invalid username or password"
OTHER_ID = "Authentication failed: Client requested an authorization id that is different from username"
NAMES = {1: "SCRAM-SHA-256", 2: "SCRAM-SHA-512"}
SALT = b"sixteen or so bytes"
STORED = {
    (user, number): make_credential(number, password, SALT) for user, password in USERS.items() for number in NAMES
}
TOKEN = TokenCredential(make_credential(1, "hmac", SALT), Principal("User", "owner"), 5000)


# PLAIN


def plain(token: bytes) -> PlainExchange:
    exchange = PlainExchange(USERS.get)
    assert exchange.evaluate(token) == b""
    return exchange


@pytest.mark.parametrize("token", [b"\0alice\0alice-secret", b"alice\0alice\0alice-secret", "\0ünï\0pä".encode()])
def test_plain_accepts_user_and_password(token):
    assert plain(token).identity == Identity(Principal("User", token.decode().split("\0")[1]))


@pytest.mark.parametrize(
    ("token", "reason", "answer"),
    [
        (b"\0alice\0wrong", "wrong password", INVALID),
        (b"\0bob\0alice-secret", "unknown user", INVALID),
        (b"bob\0alice\0alice-secret", OTHER_ID, OTHER_ID),
        (b"bob\0alice\0wrong", "wrong password", INVALID),
        *[
            (token, message, message)
            for token, message in [
                (b"", "Invalid SASL/PLAIN response: expected 3 tokens, got 1"),
                (b"alice", "Invalid SASL/PLAIN response: expected 3 tokens, got 1"),
                (b"\0alice", "Invalid SASL/PLAIN response: expected 3 tokens, got 2"),
                (b"\0alice\0alice-secret\0more", "Invalid SASL/PLAIN response: expected 3 tokens, got 4"),
                (b"\0\0secret", "Authentication failed: username not specified"),
                (b"\0alice\0", "Authentication failed: password not specified"),
            ]
        ],
        (b"\xff\xfe\0\xff\0\xff", "unknown user", INVALID),
    ],
)
def test_plain_refuses_malformed_tokens_and_wrong_passwords(token, reason, answer):
    with pytest.raises(Refused) as refused:
        plain(token)
    assert (refused.value.reason, refused.value.answer) == (reason, answer)


def test_a_user_with_an_empty_password_cannot_log_in():
    with pytest.raises(Refused):
        PlainExchange({"alice": ""}.get).evaluate(b"\0alice\0")


# SCRAM


def scram(number: int = 1, nonce: str = "servernonce") -> ScramExchange:
    def stand_in(name: str) -> Credential:
        return Credential(b"of " + name.encode(), b"x" * 32, b"x" * 32, 4096)

    credentials = Credentials(
        lambda name: STORED.get((name, number)), lambda token_id: TOKEN if token_id == "id" else None, stand_in
    )
    return ScramExchange(number, credentials, nonce)


def test_the_exchange_of_rfc_7677():
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    known = make_credential(1, "pencil", salt)
    exchange = ScramExchange(
        1, Credentials(lambda _: known, lambda _: None, lambda _: known), "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    client = ScramClient("SCRAM-SHA-256", "user", "pencil", "rOprNGfwEbeRWgbNEkqO")

    assert client.first() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    first = exchange.evaluate(client.first())
    assert first == b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    final = client.final(first)
    assert final.endswith(b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    assert exchange.evaluate(final) == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert exchange.identity == Identity(Principal("User", "user"))


@pytest.mark.parametrize("number", NAMES)
def test_another_implementation_of_the_client_logs_in(number):
    client = ScramMechanism(NAMES[number])
    from scramp import ScramClient as OtherClient

    other = OtherClient([client.name], "alice", "alice-secret")
    exchange = scram(number)

    other.set_server_first(exchange.evaluate(other.get_client_first().encode()).decode())
    other.set_server_final(exchange.evaluate(other.get_client_final().encode()).decode())

    assert exchange.identity == Identity(Principal("User", "alice"))


def test_a_wrong_password_and_an_unknown_user_fail_at_the_same_message():
    for user, password, reason in (("alice", "wrong", "wrong password"), ("nobody", "x", "unknown user")):
        exchange, client = scram(), ScramClient("SCRAM-SHA-256", user, password, "nonce")
        final = client.final(exchange.evaluate(client.first()))
        with pytest.raises(Refused) as refused:
            exchange.evaluate(final)
        assert (refused.value.reason, refused.value.answer) == (reason, None)
        assert exchange.identity is None
        assert exchange.claimed == user


def test_a_stand_in_has_no_password_even_if_its_keys_were_known():
    known = make_credential(1, "guessed", SALT)
    exchange = ScramExchange(1, Credentials(lambda _: None, lambda _: None, lambda _: known), "s")
    client = ScramClient("SCRAM-SHA-256", "nobody", "guessed", "nonce")
    final = client.final(exchange.evaluate(client.first()))

    with pytest.raises(Refused, match="unknown user"):
        exchange.evaluate(final)


def test_a_replayed_final_message_has_the_wrong_nonce():
    client = ScramClient("SCRAM-SHA-256", "alice", "alice-secret", "nonce")
    recorded = scram()
    final = client.final(recorded.evaluate(client.first()))
    recorded.evaluate(final)
    again = scram(nonce="another")
    again.evaluate(client.first())

    with pytest.raises(Refused, match="Invalid client nonce"):
        again.evaluate(final)
    with pytest.raises(Refused, match="after the last one"):
        recorded.evaluate(final)


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"\xff\xff",
        b"y,,n=alice,r=nonce",
        b"p=tls-unique,,n=alice,r=nonce",
        b"n,,n=,r=nonce",
        b"n,,n=alice",
        b"n,,n=alice,r=",
        b"n,,n=al=ice,r=nonce",
        b"n,,n=alice,r=non ce",
        "n,,n=ünï,r=nonce".encode(),
        b"n,,n=alice,r=nonce,",
        b"n,,n=alice,r=nonce,1=2",
    ],
)
def test_a_first_message_that_is_none_is_refused(token):
    with pytest.raises(Refused, match="Invalid SCRAM client first message format"):
        scram().evaluate(token)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (b"", "Invalid SCRAM client final message format"),
        (b"c=biws,r=nonceservernonce", "Invalid SCRAM client final message format"),
        (b"c=biws,r=nonceservernonce,p=***", "Invalid SCRAM client final message format"),
        (b"c=biws,r=nonce,p=AAAA", "Invalid client nonce"),
        (b"c=biws,r=nonceservernonce,p=AAAA", "a proof of a wrong length"),
        (b"c=biws,r=nonceservernonce,p=" + base64.b64encode(b"x" * 32), "wrong password"),
    ],
)
def test_a_final_message_that_is_none_is_refused(token, reason):
    exchange = scram()
    exchange.evaluate(b"n,,n=alice,r=nonce")
    with pytest.raises(Refused, match=reason):
        exchange.evaluate(token)


def test_an_authorization_id_must_be_the_user():
    assert scram().evaluate(b"n,a=alice,n=alice,r=nonce").startswith(b"r=nonceservernonce,")
    with pytest.raises(Refused) as refused:
        scram().evaluate(b"n,a=bob,n=alice,r=nonce")
    assert refused.value.answer == OTHER_ID


def test_too_few_stored_iterations_are_refused():
    weak = Credential(SALT, b"k", b"k", 1)
    exchange = ScramExchange(1, Credentials(lambda _: weak, lambda _: None, lambda _: weak), "s")
    with pytest.raises(Refused, match="Iterations 1 is less than the minimum 4096"):
        exchange.evaluate(b"n,,n=alice,r=nonce")


def test_a_delegation_token_stands_for_its_owner_until_it_expires():
    exchange, client = scram(), ScramClient("SCRAM-SHA-256", "id", "hmac", "nonce", token=True)
    assert exchange.is_slow(client.first())

    final = client.final(exchange.evaluate(client.first()))
    client.check(exchange.evaluate(final))

    assert exchange.identity == Identity(Principal("User", "owner"), 5000, by_token=True)


def test_an_unknown_delegation_token_is_refused():
    with pytest.raises(Refused, match="unknown delegation token"):
        scram().evaluate(b"n,,n=other,r=nonce,tokenauth=true")


def test_names_are_unescaped():
    exchange = scram()
    exchange.evaluate(b"n,,n=a=2Cb=3D,r=nonce")
    assert exchange.claimed == "a,b="


def test_the_client_refuses_a_server_that_does_not_know_the_password():
    client = ScramClient("SCRAM-SHA-256", "alice", "alice-secret", "nonce")
    client.final(scram().evaluate(client.first()))
    with pytest.raises(ScramRefused, match="does not know the password"):
        client.check(b"v=AAAA")


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"\xff",
        b"r=other,s=AAAA,i=4096",
        b"r=nonce,s=AAAA,i=4096",
        b"r=nonceX,s=AAAA,i=0",
        b"r=nonceX,s=AAAA,i=9999999999",
    ],
)
def test_the_client_refuses_a_first_message_that_is_none(first):
    with pytest.raises(ScramRefused):
        ScramClient("SCRAM-SHA-256", "alice", "x", "nonce").final(first)


@given(st.binary(max_size=200))
def test_any_token_is_refused_or_answered(token):
    for exchange in (PlainExchange(USERS.get), scram()):
        try:
            exchange.evaluate(token)
        except Refused:
            assert exchange.identity is None


def test_random_text_has_130_bits_in_base_36():
    assert int(random_text(b"\xff" * 17), 36) == (1 << 130) - 1
    assert random_text(bytes(17)) == "0"
    assert int(random_text(bytes(range(17))), 36) == int.from_bytes(bytes(range(17)), "big") & (1 << 130) - 1
