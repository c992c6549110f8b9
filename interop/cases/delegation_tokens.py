"""The official kafka-delegation-tokens beside its twin, on both brokers."""

import re
from collections.abc import Callable

from interop.brokers import Apache, Kwire
from interop.case import Run, case
from interop.java import Finished
from interop.sasl import add_sasl, client_properties, wait_for_tokens

# {hmac} is that of the token of the last line that created one. Not among them, because the twin differs on purpose: a
# period that is no number (the official tool fails with a NullPointerException), and --describe without an owner while
# there are tokens (the official tool asks for the tokens of no owner and prints none; the twin prints those of all).
LINES = (
    "--describe",
    "--create --max-life-time-period -1",
    "--describe --owner-principal User:alice",
    "--renew --renew-time-period -1 --hmac {hmac}",
    "--renew --renew-time-period 60000 --hmac {hmac}",
    "--expire --expiry-time-period 30000 --hmac {hmac}",
    "--expire --expiry-time-period -1 --hmac {hmac}",
    "--expire --expiry-time-period -1 --hmac {hmac}",
    "--create --max-life-time-period 3600000 --renewer-principal User:bob --renewer-principal User:carol",
    "--describe --owner-principal User:alice",
    "--expire --expiry-time-period -1 --hmac {hmac}",
    "--create --max-life-time-period -1 --owner-principal User:bob --renewer-principal User:alice",
    "--describe --owner-principal User:alice",
    "--describe --owner-principal User:bob --owner-principal User:alice",
    "--expire --expiry-time-period -1 --hmac {hmac}",
    "--create --max-life-time-period -1 --renewer-principal Group:g",
    "--create --max-life-time-period -1 --renewer-principal nobody",
    "--create",
    "--create --describe",
    "--describe --hmac AAAA",
    "--renew --renew-time-period 1",
    "--renew --renew-time-period 1 --hmac AAAA",
    "--expire --hmac AAAA",
)
_CREATED = re.compile(r"^(\S{22}) +(\S{80,}={0,2}) ", re.MULTILINE)
# What differs from token to token; a row of a table keeps its width.
_OWN = ((r"[A-Za-z0-9_-]{22}(?= )", "ID"), (r"tokenId : \S+", "tokenId : ID"), (r"[A-Za-z0-9+/]{86}==", "HMAC"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d", "DATE"))  # fmt: skip
# What a refusal is, beside usage texts and stack traces.
_REFUSAL = re.compile(r"(Calling|Command must|Missing required|Option \"|Error while|expected a string)")


@case("tools", "kafka-delegation-tokens", "official-output-and-twin")
def official_output_and_twin(run: Run) -> None:
    """The official tool prints the same on both brokers, and its twin prints what it prints."""
    outputs: dict[str, list[list[str]]] = {}
    for kind in ("apache", "kwire"):
        broker = run.own_broker({"delegation.token.secret.key": "k3y"}, kind=kind)
        port = add_sasl(broker, "SASL", mechanisms=("PLAIN",))["SASL"]
        broker.start()
        outputs[f"official on {kind}"] = results(run, broker, port, run.tool)
        outputs[f"twin on {kind}"] = results(run, broker, port, run.twin)
        broker.stop()
    expected = outputs.pop("official on apache")
    differences = [
        f"{who}: {line}\n  official on apache: {official}\n  here: {seen}"
        for who, found in outputs.items()
        for line, official, seen in zip(LINES, expected, found, strict=True)
        if official != seen
    ]
    assert not differences, f"{len(differences)} differ\n" + "\n".join(differences)


def results(run: Run, broker: Kwire | Apache, port: int, script: Callable[..., Finished]) -> list[list[str]]:
    """What each line prints; in the end no token is left."""
    config = run.folder / "alice.properties"
    config.write_text(client_properties("PLAIN"))
    at = ("--bootstrap-server", f"localhost:{port}", "--command-config", str(config))
    found, hmac = [], ""
    for line in LINES:
        ended = script("delegation-tokens", *at, *line.format(hmac=hmac).split())
        created = _CREATED.search(ended.out) if line.startswith("--create") else None
        hmac = created[2] if created else hmac
        found.append([str(int(ended.code != 0)), *printed(ended)])
        if broker.name == "apache" and not ended.code and not line.startswith("--describe"):
            wait_for_tokens(port)
    return found


def printed(ended: Finished) -> list[str]:
    """The lines of an output, sorted: the official tool prints hash tables. Of a failure only what it says."""
    text = ended.out if not ended.code else ended.out + ended.err
    for pattern, word in _OWN:
        text = re.sub(pattern, word, text)
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if not ended.code:
        return sorted(lines)
    return sorted(line for line in lines if _REFUSAL.match(line))
