"""Logins by SASL: what the wire says, beside Apache Kafka."""

import base64
import time
from collections.abc import Callable
from typing import Any

from interop.case import Run, case
from interop.sasl import MECHANISMS, USERS, Wire, add_sasl, masked, unsecured_token, wait_for_tokens, wait_until_applied
from kwire.wire import messages as m

Probe = Callable[[Wire], Any]
SOFTWARE = {"client_software_name": "wire", "client_software_version": "1"}
KEYS = (17, 36, 38, 39, 40, 41, 50, 51)


def versions(wire: Wire, version: int = 3, **software: str) -> Any:
    answer = wire.call(version, m.ApiVersionsRequest(**(software or SOFTWARE)))
    keys = {str(api["apiKey"]): [api["minVersion"], api["maxVersion"]] for api in answer.get("apiKeys", [])}
    return answer.get("errorCode", answer), {key: keys[key] for key in map(str, KEYS) if key in keys}


def closed(wire: Wire, *answers: Any) -> Any:
    return *answers, wire.is_closed()


def metadata(wire: Wire) -> Any:
    return sorted(wire.call(9, m.MetadataRequest(topics=[])))


def plain(token: bytes) -> Probe:
    return lambda wire: closed(wire, wire.handshake("PLAIN"), wire.authenticate(token))


def scram(first: bytes, final: Callable[[bytes], bytes] | None = None) -> Probe:
    def probe(wire: Wire) -> Any:
        wire.handshake("SCRAM-SHA-256")
        answer = wire.authenticate(first)
        if final is None or answer.get("errorCode"):
            return masked(answer, "authBytes"), answer.get("errorCode") and wire.is_closed()
        return closed(wire, wire.authenticate(final(base64.b64decode(answer["authBytes"]))))

    return probe


def nonce_of(first: bytes) -> bytes:
    return first.split(b",")[0].removeprefix(b"r=")


def then(*steps: Callable[[Wire], Any]) -> Probe:
    return lambda wire: [step(wire) for step in steps]


def call(version: int, request: Any) -> Callable[[Wire], Any]:
    return lambda wire: wire.call(version, request)


def shake(mechanism: str, version: int = 1) -> Callable[[Wire], Any]:
    return lambda wire: wire.handshake(mechanism, version)


def oauth(*, token: str = "", extra: str = "", authzid: str = "", signature: str = "", **claims: Any) -> Probe:
    """Log in with a token, or with an unsecured one of these claims; times are seconds from now."""

    def probe(wire: Wire) -> Any:
        now = int(time.time())
        times = {name: claims[name] + now for name in ("exp", "iat", "nbf") if claims.get(name) is not None}
        answer = wire.oauth((token or unsecured_token(**{**claims, **times})) + signature, extra, authzid)
        if answer.get("authBytes"):
            text = base64.b64decode(answer["authBytes"]).decode()
            return text, wire.authenticate(b"\x01"), wire.is_closed()
        lifetime = int(answer.pop("sessionLifetimeMs", 0))
        return answer, lifetime and round(lifetime / 100_000)

    return probe


PROOF = base64.b64encode(b"x" * 32)
PROBES: dict[str, Probe] = {
    "versions": then(*[lambda wire, version=version: versions(wire, version) for version in (4,)]),
    "versions twice": then(versions, versions),
    "versions of the future": then(lambda wire: versions(wire, 4, client_software_name="-"), versions),
    "handshake with an unknown mechanism": then(shake("NONE"), Wire.is_closed),
    "handshake 0 with an unknown mechanism": then(shake("NONE", 0), Wire.is_closed),
    "handshakes": then(versions, shake("PLAIN")),
    "metadata first": lambda wire: closed(wire, metadata(wire)),
    "authenticate first": then(lambda wire: wire.authenticate(b"x"), Wire.is_closed),
    "versions after the handshake": then(shake("PLAIN"), versions, Wire.is_closed),
    "metadata after the handshake": then(shake("PLAIN"), metadata, Wire.is_closed),
    "handshake after the handshake": then(shake("PLAIN"), shake("PLAIN"), Wire.is_closed),
    "coordinator after the handshake": then(
        shake("PLAIN"), call(2, m.FindCoordinatorRequest(key="g")), Wire.is_closed
    ),
    "heartbeat after the handshake": then(shake("PLAIN"), call(4, m.HeartbeatRequest()), Wire.is_closed),
    "create topics after the handshake": then(shake("PLAIN"), call(7, m.CreateTopicsRequest()), Wire.is_closed),
    "plain": then(versions, Wire.plain, metadata),
    **{f"plain by version {n}": then(shake("PLAIN"), lambda wire, n=n: wire.authenticate(b"\0alice\0alice-secret", n))
       for n in range(3)},
    "plain as old clients": then(shake("PLAIN", 0), lambda wire: wire.token(b"\0alice\0alice-secret"), metadata),
    "plain as old clients, refused": then(shake("PLAIN", 0), lambda wire: wire.token(b"\0alice\0x"), Wire.is_closed),
    "handshake after the login": then(Wire.plain, shake("PLAIN"), metadata),
    "authenticate after the login": then(Wire.plain, lambda wire: wire.authenticate(b"x"), metadata),
    **{f"plain {token!r}": plain(token) for token in (
        b"", b"alice", b"\0alice", b"\0\0secret", b"\0alice\0", b"\0alice\0wrong", b"\0eve\0x",
        b"bob\0alice\0alice-secret",
        b"alice\0alice\0alice-secret", b"\0alice\0alice-secret\0more", b"\xff\xff\0\xff\0\xff",
    )},
    "a token that is too large": then(
        shake("PLAIN"), lambda wire: wire.exchange((600_000).to_bytes(4, "big") + b"x" * 100)
    ),
    **{f"scram {user} {password}": lambda wire, user=user, password=password: closed(wire, wire.scram(user, password))
       for user, password in (("alice", "wrong"),)},
    **{f"scram {name}": lambda wire, name=name: (wire.scram("alice", "alice-secret", name), metadata(wire))
       for name in ("SCRAM-SHA-256", "SCRAM-SHA-512")},
    **{f"scram {first!r}": scram(first) for first in (
        b"", b"n,,n=alice", b"y,,n=alice,r=x", b"n,a=bob,n=alice,r=x", b"n,,n=al=ice,r=x", b"n,,n=alice,r=x,a=b",
        b"n,,n=unknown,r=x,tokenauth=true", b"n,,m=a,n=alice,r=x",
    )},
    "scram with another nonce": scram(b"n,,n=alice,r=x", lambda _: b"c=biws,r=other,p=" + PROOF),
    "scram with the nonce twice": scram(
        b"n,,n=alice,r=x", lambda first: b"c=biws,r=x" + nonce_of(first) + b",p=" + PROOF
    ),
    "scram with a wrong proof": scram(b"n,,n=alice,r=x", lambda first: b"c=biws,r=" + nonce_of(first) + b",p=" + PROOF),
    "scram without a proof": scram(b"n,,n=alice,r=x", lambda first: b"c=biws,r=" + nonce_of(first)),
}  # fmt: skip
OAUTH: dict[str, Probe] = {
    "oauth": oauth(),
    "oauth with an extension": oauth(extra="\x01a=b"),
    "oauth with an authorization id": oauth(authzid="a=alice"),
    "oauth with another authorization id": oauth(authzid="a=bob"),
    "oauth expired": oauth(exp=-100),
    "oauth issued later": oauth(iat=500),
    "oauth that ends before it begins": oauth(iat=-10, exp=-20),
    "oauth without subject": oauth(sub=None),
    "oauth with an empty subject": oauth(sub=" "),
    "oauth with a number as subject": oauth(sub=5),
    "oauth without expiry": oauth(exp=None),
    "oauth without time of issue": oauth(iat=None),
    "oauth not before": oauth(nbf=500),
    "oauth signed": oauth(signature="AAAA", header={"alg": "HS256"}),
    "oauth with one part": oauth(token="abc"),
    "oauth with bad parts": oauth(token="a.b.c"),
    "oauth with two dots": oauth(token="abc..def"),
    "oauth without token": then(shake("OAUTHBEARER"), lambda wire: wire.authenticate(b"n,,\x01\x01")),
    "oauth of nothing": then(shake("OAUTHBEARER"), lambda wire: wire.authenticate(b"")),
}  # fmt: skip


LONG_S = 9


def sessions(port: int, long_port: int) -> dict[str, Any]:
    """Sessions of three seconds; and one of ``LONG_S``, which is renewed some seconds before its end."""
    found: dict[str, Any] = {}
    renewed, began = Wire(long_port), time.monotonic()
    found["renewed"] = [renewed.plain()]
    wires = {
        name: Wire(port) for name in ("again", "expired", "other user", "other mechanism", "at once", "wrong", "busy")
    }
    for name, wire in wires.items():
        found[name] = [wire.plain()]
    found["at once"] += [wires["at once"].handshake("PLAIN"), wires["at once"].authenticate(b"x")]
    time.sleep(1.2)  # a session is renewed at most once a second
    found["again"] += [wires["again"].plain(), metadata(wires["again"])]
    found["at once"] += [wires["at once"].handshake("PLAIN"), metadata(wires["at once"]), wires["at once"].is_closed()]
    found["other user"] += [wires["other user"].plain("bob"), wires["other user"].is_closed()]
    found["wrong"] += [wires["wrong"].plain(password="wrong"), wires["wrong"].is_closed()]
    found["busy"] += [wires["busy"].handshake("PLAIN"), metadata(wires["busy"]), wires["busy"].is_closed()]
    other = wires["other mechanism"]
    found["other mechanism"] += [other.handshake("SCRAM-SHA-256"), other.authenticate(b"x"), other.is_closed()]
    time.sleep(2.0)  # the sessions of 3 s that were not renewed are over
    found["expired"] += [metadata(wires["expired"]), wires["expired"].is_closed()]
    late = Wire(port)
    found["late"] = [late.plain()]
    time.sleep(3.3)  # so is this one
    found["late"] += [late.plain(), metadata(late)]
    found["renewed"] += [renewed.plain(), metadata(renewed)]
    left_s = began + LONG_S + 1 - time.monotonic()
    assert left_s > 0, "the machine is too busy for this probe"
    time.sleep(left_s)  # until the session of the first login would be over
    found["renewed"] += [metadata(renewed)]
    return found


def create(
    owner: str = "", renewers: tuple[tuple[str, str], ...] = (), life_ms: int = -1
) -> m.CreateDelegationTokenRequest:
    request = m.CreateDelegationTokenRequest(
        renewers=[
            m.CreateDelegationTokenRequest.CreatableRenewers(principal_type=kind, principal_name=name)
            for kind, name in renewers
        ],
        max_lifetime_ms=life_ms,
    )
    if owner:
        request.owner_principal_type, request.owner_principal_name = "User", owner
    return request


TIMES = ("issueTimestampMs", "expiryTimestampMs", "maxTimestampMs", "issueTimestamp", "expiryTimestamp", "maxTimestamp")


def shaped(answer: dict[str, Any], began_ms: int) -> Any:
    """An answer about tokens: times in minutes from the beginning, secrets by their length."""
    shape: dict[str, Any] = {}
    for name, value in answer.items():
        if name in TIMES:
            shape[name] = int(value) if int(value) <= 0 else round((int(value) - began_ms) / 60_000)
        elif name in {"hmac", "tokenId"}:
            shape[name] = len(value)
        elif name == "tokens":
            shape[name] = sorted((shaped(each, began_ms) for each in value), key=str)
        else:
            shape[name] = value
    return shape


def tokens(plain_port: int, port: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    began_ms = int(time.time() * 1000)

    def ask(label: str, wire: Wire, version: int, request: Any) -> dict[str, Any]:
        answer = wire.call(version, request)
        found[label] = shaped(answer, began_ms)
        return answer

    describe = m.DescribeDelegationTokenRequest
    owners = [describe.DescribeDelegationTokenOwner(principal_type="User", principal_name="bob")]
    anonymous, alice, bob = Wire(plain_port), Wire(port), Wire(port)
    alice.plain()
    bob.plain("bob")
    for version in (1, 2, 3):
        ask(f"plain create {version}", anonymous, version, create())
    ask("plain renew", anonymous, 2, m.RenewDelegationTokenRequest(hmac=b"x", renew_period_ms=5))
    ask("plain expire", anonymous, 2, m.ExpireDelegationTokenRequest(hmac=b"x", expiry_time_period_ms=5))
    ask("plain describe", anonymous, 3, describe(owners=None))
    for version in (1, 2, 3):
        made = ask(f"create {version}", alice, version, create())
    ask("create for another", alice, 3, create("bob"))
    ask("create with a renewer", alice, 3, create(renewers=(("User", "bob"),), life_ms=3_600_000))
    ask("create with a group as renewer", alice, 3, create(renewers=(("Group", "bob"),)))
    ask("renew nothing", alice, 2, m.RenewDelegationTokenRequest(hmac=b"x", renew_period_ms=5))
    ask("expire nothing", alice, 2, m.ExpireDelegationTokenRequest(hmac=b"x", expiry_time_period_ms=5))
    if made.get("errorCode") == 0:
        secret = base64.b64decode(made["hmac"])
        wait_for_tokens(port)
        for period_ms in (-1, 0, 3_600_000, 2**62):
            ask(f"renew {period_ms}", alice, 2, m.RenewDelegationTokenRequest(hmac=secret, renew_period_ms=period_ms))
        ask("renew by another", bob, 2, m.RenewDelegationTokenRequest(hmac=secret, renew_period_ms=5))
        ask("expire by another", bob, 2, m.ExpireDelegationTokenRequest(hmac=secret, expiry_time_period_ms=5))
        wait_for_tokens(port)
        ask("describe", alice, 3, describe(owners=None))
        ask("describe none", alice, 3, describe(owners=[]))
        ask("describe bob's", alice, 2, describe(owners=owners))
        ask("describe by bob", bob, 1, describe(owners=None))
        by_token = Wire(port)
        login = by_token.scram(made["tokenId"], made["hmac"], by_token=True)
        found["login by token"] = masked(login, "sessionLifetimeMs"), round(int(login["sessionLifetimeMs"]) / 60_000)
        ask("create by token", by_token, 3, create())
        ask("describe by token", by_token, 3, describe(owners=None))
        wrong = Wire(port)
        found["login by token, refused"] = wrong.scram(made["tokenId"], "wrong", by_token=True)
        later = m.ExpireDelegationTokenRequest(hmac=secret, expiry_time_period_ms=60_000)
        ask("expire later", alice, 2, later)
        ask("expire now", alice, 2, m.ExpireDelegationTokenRequest(hmac=secret, expiry_time_period_ms=-1))
        wait_for_tokens(port)
        ask("expire again", alice, 2, m.ExpireDelegationTokenRequest(hmac=secret, expiry_time_period_ms=-1))
        gone = Wire(port)
        found["login by a token that is gone"] = gone.scram(made["tokenId"], made["hmac"], by_token=True)
    return found


def transcript(run: Run, kind: str) -> dict[str, Any]:
    """Everything, asked of one broker."""
    secured = run.own_broker({"delegation.token.secret.key": "k3y"}, kind=kind)
    ports = add_sasl(secured, "SASL", "SHORT", "LONG", mechanisms=MECHANISMS)
    secured.settings["listener.name.short.connections.max.reauth.ms"] = "3000"
    secured.settings["listener.name.long.connections.max.reauth.ms"] = f"{LONG_S}000"
    secured.start()
    for user, password in USERS.items():
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            config = f"{mechanism}=[iterations=4096,password={password}]"
            entity = ("--entity-type", "users", "--entity-name", user, "--bootstrap-server", secured.bootstrap)
            run.tool("configs", *entity, "--alter", "--add-config", config).ok()
    wait_until_applied(secured.port)
    found: dict[str, Any] = {}
    for label, probe in {**PROBES, **OAUTH}.items():
        wire = Wire(ports["SASL"])
        found[label] = probe(wire)
        wire.close()
    found |= {f"session {label}": value for label, value in sessions(ports["SHORT"], ports["LONG"]).items()}
    found |= {f"tokens: {label}": value for label, value in tokens(secured.port, ports["SASL"]).items()}
    secured.stop()
    without = run.own_broker({}, kind=kind)
    port = add_sasl(without, "SASL", mechanisms=("PLAIN",))["SASL"]
    without.start()
    found |= {f"no tokens: {label}": value for label, value in tokens(without.port, port).items()}
    without.stop()
    return found


@case("oracle", "sasl", "logins-and-tokens")
def logins_and_tokens(run: Run) -> None:
    """Kwire and Apache Kafka answer each login and each request about tokens in the same way."""
    ours, theirs = transcript(run, "kwire"), transcript(run, "apache")
    differences = [
        f"{label}\n  kwire  {ours.get(label)}\n  apache {theirs.get(label)}"
        for label in sorted(ours.keys() | theirs.keys())
        if ours.get(label) != theirs.get(label)
    ]
    assert not differences, "\n".join(differences)
