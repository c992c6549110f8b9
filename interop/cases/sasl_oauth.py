"""OAUTHBEARER with signed tokens, beside Apache Kafka: with which settings a broker starts, and which tokens log in."""

import base64
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from interop.brokers import Apache
from interop.case import Run, case
from interop.cases.sasl import oauth
from interop.sasl import MODULES, Wire, add_sasl

HANDLER = f"{MODULES}oauthbearer.OAuthBearerValidatorCallbackHandler"
AUDIENCE = {"sasl.oauthbearer.expected.audience": "kafka"}
ISSUER = {"sasl.oauthbearer.expected.issuer": "https://issuer"}
# The settings with which a broker is started, and whether the tokens are tried there.
STARTS: dict[str, tuple[dict[str, str], bool]] = {
    "nothing is expected": ({}, False),
    "an audience": (AUDIENCE, False),
    "audience and issuer": ({**AUDIENCE, **ISSUER}, True),
    "any audience and issuer": (
        {"sasl.oauthbearer.allow.unverified.audience": "true", "sasl.oauthbearer.allow.unverified.issuer": "true"},
        True,
    ),
}


class Keys:
    """Keys that the JWKS has, and one that it has not."""

    def __init__(self) -> None:
        self.rsa, self.other = (rsa.generate_private_key(65537, 2048) for _ in range(2))
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.public = self.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def write(self, path: Path) -> None:
        of_rsa = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.rsa.public_key()))
        of_ec = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.ec.public_key()))
        keys = [{**of_rsa, "kid": "r", "alg": "RS256", "use": "sig"}, {**of_ec, "kid": "e", "use": "sig"}]
        path.write_text(json.dumps({"keys": keys}))

    def tokens(self) -> dict[str, str]:
        """Tokens by what is special about them; each is made now."""
        now = int(time.time())
        good = {"sub": "alice", "iss": "https://issuer", "aud": "kafka", "iat": now - 10, "exp": now + 3600}

        def signed(
            key: Any = self.rsa, algorithm: str = "RS256", headers: dict[str, Any] | None = None, **claims: Any
        ) -> str:
            chosen = {name: value for name, value in {**good, **claims}.items() if value is not None}
            return jwt.encode(chosen, key, algorithm, headers={"kid": "r"} if headers is None else headers)

        token = signed()
        head, body, signature = token.split(".")
        other_body = signed(sub="bob").split(".")[1]
        return {
            "good": token,
            "by an EC key": signed(self.ec, "ES256", {"kid": "e"}),
            "RS512 by the key of RS256": signed(algorithm="RS512"),
            "PS256 by the key of RS256": signed(algorithm="PS256"),
            "without a key id": signed(headers={}),
            "with an unknown key id": signed(headers={"kid": "x"}),
            "with the id of a key of another kind": signed(self.ec, "ES256", {"kid": "r"}),
            "by another key": signed(self.other),
            "with another body": f"{head}.{other_body}.{signature}",
            "without a signature": f"{head}.{body}.",
            "unsecured": f"{_part({'alg': 'none'})}.{body}.",
            "HS256 by the public key": _signed_by_secret(self.public, body),
            "of another issuer": signed(iss="https://other"),
            "without an issuer": signed(iss=None),
            "for another audience": signed(aud="other"),
            "for several audiences": signed(aud=["other", "kafka"]),
            "without an audience": signed(aud=None),
            "expired": signed(exp=now - 100),
            "expired within the clock skew": signed(exp=now - 5),
            "without expiry": signed(exp=None),
            "issued later": signed(iat=now + 500),
            "without time of issue": signed(iat=None),
            "not before": signed(nbf=now + 500),
            "without a subject": signed(sub=None),
            "with an empty subject": signed(sub=""),
            "with a scope": signed(scope="a b"),
            "with scopes": signed(scope=["a", "b"]),
            "with another type": signed(headers={"kid": "r", "typ": "at+jwt"}),
            "cut": token[:-20],
        }  # fmt: skip


def _part(value: Any) -> str:
    return _encoded(json.dumps(value).encode())


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _signed_by_secret(secret: bytes, body: str) -> str:
    signed = f"{_part({'alg': 'HS256', 'kid': 'r'})}.{body}"
    return f"{signed}.{_encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"


def transcript(run: Run, kind: str, keys: Keys) -> dict[str, Any]:
    """Whether one broker starts with each of the settings, and what it answers to each token."""
    path = run.folder / "jwks.json"
    keys.write(path)
    found: dict[str, Any] = {}
    for label, (settings, asked) in STARTS.items():
        broker = run.own_broker(dict(settings), kind=kind)
        port = add_sasl(broker, "SASL", mechanisms=("OAUTHBEARER",))["SASL"]
        broker.settings |= {
            "listener.name.sasl.oauthbearer.sasl.server.callback.handler.class": HANDLER,
            "sasl.oauthbearer.jwks.endpoint.url": path.as_uri(),
        }
        if isinstance(broker, Apache):
            allowed = "-Dorg.apache.kafka.sasl.oauthbearer.allowed"
            broker.jvm = (*broker.jvm, f"{allowed}.urls={path.as_uri()}", f"{allowed}.files={path}")
        found[label] = "started"
        try:
            broker.start()
        except AssertionError:
            found[label] = "refused"
            continue
        if asked:
            for name, token in keys.tokens().items():
                wire = Wire(port)
                found[f"{label}: {name}"] = oauth(token=token)(wire)
                wire.close()
        broker.kill()
    return found


@case("oracle", "sasl", "signed-tokens")
def signed_tokens(run: Run) -> None:
    """Kwire and Apache Kafka start with the same settings, and accept and refuse the same tokens."""
    keys = Keys()
    ours, theirs = transcript(run, run.target, keys), transcript(run, "apache", keys)
    assert theirs["audience and issuer"] == "started", theirs
    differences = [
        f"{label}\n  kwire  {ours.get(label)}\n  apache {theirs.get(label)}"
        for label in sorted(ours.keys() | theirs.keys())
        if ours.get(label) != theirs.get(label)
    ]
    assert not differences, f"{len(differences)} of {len(theirs)}\n" + "\n".join(differences)
