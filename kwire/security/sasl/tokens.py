"""Tokens of OAUTHBEARER: what makes one valid.

Responsible for: unsecured tokens (RFC 7519, section 6) as Apache Kafka's OAuthBearerUnsecuredValidatorCallbackHandler
checks them, and signed ones as its BrokerJwtValidator does. Must not depend on: where keys come from, time (``now_ms``
is an argument).

PyJWT verifies signatures. The algorithm must be one of the key's type, so a token can neither choose ``none`` nor use a
public key as an HMAC key.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kwire.security.sasl.oauthbearer import InvalidToken, ValidToken

if TYPE_CHECKING:  # a second of imports, needed only where tokens are signed
    from jwt import PyJWK

Claims = Mapping[str, Any]

# The algorithms of each type of key (RFC 7518, RFC 8037).
_ALGORITHMS: Final[Mapping[str, Collection[str]]] = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512", "ES256K"),
    "OKP": ("EdDSA",),
}


class Unsecured(NamedTuple):
    """The rules for an unsecured token: the ``unsecuredValidator*`` options of the login module."""

    principal_claim: str = "sub"
    scope_claim: str = "scope"
    required_scope: tuple[str, ...] = ()
    skew_ms: int = 0


class Signed(NamedTuple):
    """The rules for a signed token: the ``sasl.oauthbearer.*`` settings.

    Without ``audiences`` or ``issuer`` tokens for any audience or of any issuer are valid; a setting must allow that.
    """

    audiences: tuple[str, ...] = ()
    issuer: str | None = None
    scope_claim: str = "scope"
    sub_claim: str = "sub"
    skew_ms: int = 30_000


def validate_unsecured(rules: Unsecured, token: str, now_ms: int) -> ValidToken:
    """Check a token without signature. Raises InvalidToken."""
    header, claims, signature = _parts(token)
    if header.get("alg") != "none":
        raise InvalidToken("Unsecured JWS must have 'none' for an algorithm")
    if signature:
        raise InvalidToken("Unsecured JWS must not contain a digital signature")
    expires = _number(claims, "exp")
    if expires is None:
        raise InvalidToken("No expiration time in JWT")
    name = claims.get(rules.principal_claim)
    if not isinstance(name, str) or not name.strip():
        raise InvalidToken(f"No principal name in JWT claim: {rules.principal_claim}")
    issued = _number(claims, "iat")
    if issued is not None and 1000 * issued > now_ms + rules.skew_ms:
        raise InvalidToken("the token is issued in the future")
    if now_ms - rules.skew_ms >= 1000 * expires:
        raise InvalidToken("the token has expired")
    if issued is not None and expires <= issued:
        raise InvalidToken("the token expires before it is issued")
    scope = claims.get(rules.scope_claim, "")
    has = scope.split() if isinstance(scope, str) else scope if isinstance(scope, list) else []
    missing = [one for one in rules.required_scope if one not in has]
    if missing:
        raise InvalidToken(f"the scope {missing[0]} is missing", f"[{', '.join(rules.required_scope)}]")
    return ValidToken(name, int(1000 * expires))


def validate_signed(
    rules: Signed, token: str, now_ms: int, keys_for: Callable[[str | None], Sequence[PyJWK]]
) -> ValidToken:
    """Check a signed token. ``keys_for(kid)`` returns the keys that may have signed it. Raises InvalidToken."""
    header, claims, signature = _parts(token)
    algorithm, kid = header.get("alg"), header.get("kid")
    if not signature or not isinstance(algorithm, str) or algorithm.lower() == "none":
        raise InvalidToken("the token is not signed")
    keys = keys_for(kid if isinstance(kid, str) else None)
    if not keys:
        raise InvalidToken(f"no key of the JWKS has the id {kid!r}")
    fitting = [key for key in keys if algorithm in _ALGORITHMS.get(key.key_type or "", ())]
    if not fitting:
        raise InvalidToken(f"no key of the JWKS is one of the algorithm {algorithm}")
    _verify(token, algorithm, fitting)
    return _checked_claims(rules, claims, now_ms)


def _verify(token: str, algorithm: str, keys: Sequence[PyJWK]) -> None:
    import jwt  # noqa: PLC0415

    for key in keys:
        try:
            jwt.api_jws.decode(token, key.key, algorithms=[algorithm])
        except (jwt.InvalidTokenError, jwt.InvalidKeyError, TypeError, ValueError):
            continue
        return
    raise InvalidToken("the signature of the token is wrong")


def _checked_claims(rules: Signed, claims: Claims, now_ms: int) -> ValidToken:
    expires, issued, begins = _number(claims, "exp"), _number(claims, "iat"), _number(claims, "nbf")
    if expires is None or issued is None:
        raise InvalidToken("the token has no exp or no iat")
    if now_ms - rules.skew_ms >= 1000 * expires:
        raise InvalidToken("the token has expired")
    if begins is not None and now_ms + rules.skew_ms < 1000 * begins:
        raise InvalidToken("the token is not valid yet")
    if rules.issuer is not None and claims.get("iss") != rules.issuer:
        raise InvalidToken(f"the issuer of the token is {claims.get('iss')!r}")
    audiences = claims.get("aud")
    given = [audiences] if isinstance(audiences, str) else audiences if isinstance(audiences, list) else []
    if rules.audiences and not set(rules.audiences).intersection(one for one in given if isinstance(one, str)):
        raise InvalidToken(f"the audience of the token is {given!r}")
    _check_scope(rules.scope_claim, claims.get(rules.scope_claim))
    name = claims.get(rules.sub_claim)
    if not isinstance(name, str) or not name.strip():
        raise InvalidToken(f"the claim {rules.sub_claim} is empty")
    return ValidToken(name.strip(), int(1000 * expires))


def _check_scope(claim: str, scope: object) -> None:
    scopes = [scope] if isinstance(scope, str) else scope if isinstance(scope, list) else []
    texts = [one.strip() if isinstance(one, str) else "" for one in scopes]
    if not all(texts) or len(set(texts)) < len(texts):
        raise InvalidToken(f"the claim {claim} has an empty or a repeated scope")


def _parts(token: str) -> tuple[Claims, Claims, str]:
    parts = token.split(".")
    if len(parts) != 3 or not parts[0] or not parts[1]:
        raise InvalidToken("the token does not have the three parts of a JWT")
    return _decoded(parts[0]), _decoded(parts[1]), parts[2]


def _decoded(part: str) -> Claims:
    try:
        value = json.loads(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise InvalidToken("a part of the token is not JSON in base64url") from None
    if not isinstance(value, dict):
        raise InvalidToken("a part of the token is not a JSON object")
    return value


def _number(claims: Claims, name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53:
        raise InvalidToken(f"the claim {name} is not a number of seconds")
    return value
