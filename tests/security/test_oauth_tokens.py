"""Tokens of OAUTHBEARER: which are valid, and the reason why another is not."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from kwire.security.principal import Principal
from kwire.security.sasl.exchange import Identity, Refused
from kwire.security.sasl.oauthbearer import InvalidToken, OAuthBearerExchange, ValidToken
from kwire.security.sasl.tokens import Signed, Unsecured, validate_signed, validate_unsecured

NOW_S = 1_800_000_000
NOW_MS = NOW_S * 1000
GOOD = {"sub": "alice", "iat": NOW_S - 10, "exp": NOW_S + 60}
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def part(value):
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def unsecured(claims=None, header=None, signature=""):
    return f"{part(header or {'alg': 'none'})}.{part({**GOOD, **(claims or {})})}.{signature}"


def without(*names):
    return {name: value for name, value in GOOD.items() if name not in names}


# Unsecured tokens


@pytest.mark.parametrize("claims", [{}, {"iat": None}, {"nbf": NOW_S + 500}, {"exp": NOW_S + 0.5, "iat": NOW_S - 1}])
def test_an_unsecured_token_names_a_principal_until_it_expires(claims):
    expires = claims.get("exp", GOOD["exp"])
    assert validate_unsecured(Unsecured(), unsecured(claims), NOW_MS) == ValidToken("alice", int(expires * 1000))


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (unsecured({"exp": NOW_S}), "has expired"),
        (unsecured({"exp": None}), "No expiration time"),
        (unsecured({"exp": "soon"}), "exp is not a number"),
        (unsecured({"exp": True}), "exp is not a number"),
        (unsecured({"exp": 1e300}), "exp is not a number"),
        (unsecured({"iat": NOW_S + 1}), "issued in the future"),
        (unsecured({"iat": NOW_S, "exp": NOW_S + 0.0}), "has expired"),
        (unsecured({"sub": None}), "No principal name"),
        (unsecured({"sub": "  "}), "No principal name"),
        (unsecured({"sub": 5}), "No principal name"),
        (unsecured(header={"alg": "HS256"}), "must have 'none'"),
        (unsecured(header={"typ": "JWT"}), "must have 'none'"),
        (unsecured(signature="AAAA"), "must not contain a digital signature"),
        ("abc", "three parts"),
        ("a.b.c.d", "three parts"),
        ("..", "three parts"),
        ("a.b.", "not JSON"),
        (f"{part([1])}.{part({})}.", "not a JSON object"),
        (f"{part(b'[' * 100_000)}.{part({})}.", "not JSON"),
    ],
)
def test_an_unsecured_token_is_invalid(token, reason):
    with pytest.raises(InvalidToken, match=reason):
        validate_unsecured(Unsecured(), token, NOW_MS)


def test_the_options_of_the_login_module_count():
    rules = Unsecured("user", "roles", ("a", "b"), 5000)
    claims = {"user": "bob", "roles": ["a", "b"], "exp": NOW_S - 4, "iat": NOW_S - 50}
    assert validate_unsecured(rules, unsecured(claims), NOW_MS).principal_name == "bob"
    assert validate_unsecured(rules, unsecured({**claims, "roles": "b c a"}), NOW_MS).principal_name == "bob"
    with pytest.raises(InvalidToken) as lacking:
        validate_unsecured(rules, unsecured({**claims, "roles": "a"}), NOW_MS)
    assert lacking.value.scope == "[a, b]"


# Signed tokens


def jwk(private, kid, **more):
    algorithm = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256"}
    name = next((alg for kind, alg in algorithm.items() if isinstance(private, kind)), "EdDSA")
    document = jwt.get_algorithm_by_name(name).to_jwk(private.public_key(), as_dict=True)
    return jwt.PyJWK({**document, "kid": kid, **more})


KEYS = [jwk(RSA, "r"), jwk(EC, "e"), jwk(ED, "d")]


def keys_for(kid):
    return [key for key in KEYS if kid in {None, key.key_id}]


def signed(claims=None, *, key=RSA, algorithm="RS256", kid="r"):
    return jwt.encode({**GOOD, **(claims or {})}, key, algorithm, headers={"kid": kid} if kid else {})


def check(token, rules=None):
    return validate_signed(rules or Signed(), token, NOW_MS, keys_for)


@pytest.mark.parametrize(
    "token",
    [
        signed(),
        signed(algorithm="PS512"),
        signed(kid=None),
        signed(key=EC, algorithm="ES256", kid="e"),
        signed(key=ED, algorithm="EdDSA", kid="d"),
    ],
)
def test_a_signed_token_names_a_principal_until_it_expires(token):
    assert check(token) == ValidToken("alice", GOOD["exp"] * 1000)


def public_pem():
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hmac_of_the_public_key():
    """The old trick: an HMAC whose secret is the public key, for a verifier that lets the token choose."""
    import hashlib
    import hmac

    signing = f"{part({'alg': 'HS256', 'kid': 'r'})}.{part(GOOD)}"
    signature = hmac.digest(public_pem(), signing.encode(), hashlib.sha256)
    return f"{signing}.{part(signature)}"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (unsecured(), "not signed"),
        (unsecured(signature="AAAA"), "not signed"),
        (unsecured(header={"alg": "None"}, signature="AAAA"), "not signed"),
        (unsecured(header={"alg": ["RS256"]}, signature="AAAA"), "not signed"),
        (hmac_of_the_public_key(), "no key of the JWKS is one of the algorithm HS256"),
        (signed(key=OTHER_RSA), "the signature of the token is wrong"),
        (signed()[:-4] + "AAAA", "the signature of the token is wrong"),
        (signed(kid="x"), "no key of the JWKS has the id 'x'"),
        (signed(key=EC, algorithm="ES256", kid="r"), "no key of the JWKS is one of the algorithm ES256"),
        (signed({"exp": NOW_S - 30}), "has expired"),
        (signed({"nbf": NOW_S + 31}), "not valid yet"),
        (signed({"exp": "soon"}), "exp is not a number"),
        (signed({"sub": " "}), "the claim sub is empty"),
        (signed({"scope": ["a", "a"]}), "an empty or a repeated scope"),
        (signed({"scope": [""]}), "an empty or a repeated scope"),
        (signed({"scope": [1]}), "an empty or a repeated scope"),
        (jwt.encode(without("iat"), RSA, "RS256", headers={"kid": "r"}), "no exp or no iat"),
        (jwt.encode(without("exp"), RSA, "RS256", headers={"kid": "r"}), "no exp or no iat"),
    ],
)
def test_a_signed_token_is_invalid(token, reason):
    with pytest.raises(InvalidToken, match=reason):
        check(token)


def test_the_skew_of_the_clocks_is_allowed():
    assert check(signed({"exp": NOW_S - 29, "nbf": NOW_S + 30})).principal_name == "alice"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://issuer", "aud": "kafka"}, None),
        ({"iss": "https://issuer", "aud": ["other", "kafka"]}, None),
        ({"iss": "https://other", "aud": "kafka"}, "the issuer of the token is 'https://other'"),
        ({"aud": "kafka"}, "the issuer of the token is None"),
        ({"iss": "https://issuer", "aud": "other"}, "the audience of the token"),
        ({"iss": "https://issuer"}, "the audience of the token"),
        ({"iss": "https://issuer", "aud": [5, "kafka"]}, None),
    ],
)
def test_issuer_and_audience_must_be_expected_ones(claims, reason):
    rules = Signed(audiences=("kafka", "more"), issuer="https://issuer")
    if reason is None:
        assert check(signed(claims), rules).principal_name == "alice"
    else:
        with pytest.raises(InvalidToken, match=reason):
            check(signed(claims), rules)


def test_a_token_of_any_audience_and_issuer_is_taken_where_none_is_expected():
    assert check(signed({"aud": ["other"], "iss": "someone"}), Signed()).principal_name == "alice"


def test_claims_may_have_other_names():
    rules = Signed(sub_claim="client_id", scope_claim="roles")
    assert check(signed({"client_id": " app ", "roles": ["a"], "scope": ["", ""]}), rules).principal_name == "app"


# The exchange


def exchange():
    return OAuthBearerExchange(lambda token: validate_unsecured(Unsecured(), token, NOW_MS))


def message(token, *, authzid="", more=""):
    return f"n,{authzid},\x01auth=Bearer {token}\x01{more}\x01".encode()


@pytest.mark.parametrize("more", [{}, {"authzid": "a=alice"}, {"more": "traceId=1 2\x01"}])
def test_a_valid_token_logs_in(more):
    one = exchange()
    assert one.evaluate(message(unsecured(), **more)) == b""
    assert one.identity == Identity(Principal("User", "alice"), GOOD["exp"] * 1000)


def test_an_invalid_token_is_answered_in_json_and_then_refused():
    one = exchange()
    answer = one.evaluate(message(unsecured({"exp": 1})))
    assert answer == b'{"status":"invalid_token"}'
    with pytest.raises(Refused) as refused:
        one.evaluate(b"\x01")
    assert refused.value.answer == answer.decode()
    assert one.identity is None


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"\x01",
        b"n,,\x01\x01",
        b"n,,\x01auth=Basic x\x01\x01",
        b"n,,\x01auth=Bearer\x01\x01",
        b"y,,\x01auth=Bearer x\x01\x01",
        b"n,,\x01auth=Bearer x\x01",
        b"\xff",
        message("a\x02b"),
    ],
)
def test_a_message_that_is_none_is_refused(token):
    with pytest.raises(Refused) as refused:
        exchange().evaluate(token)
    assert refused.value.answer is None


def test_another_authorization_id_is_refused():
    with pytest.raises(Refused, match=r"an authorization id \(bob\) that is different from the token's principal name"):
        exchange().evaluate(message(unsecured(), authzid="a=bob"))


@given(st.text(max_size=60), st.binary(max_size=60))
def test_any_token_is_valid_or_not(token, content):
    for text in (token, f"{part(content)}.{part(content)}.", f"{part({'alg': 'none'})}.{part(content)}."):
        with pytest.raises(InvalidToken):
            validate_unsecured(Unsecured(), text, NOW_MS)
        with pytest.raises(InvalidToken):
            check(text)
