"""The command ``kwire proxy`` with TLS to its clients, to the brokers or both: librdkafka, the Java client, logins."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from interop.brokers import PYTHON
from interop.case import Run, case
from interop.cases.sasl_clients import PROPERTIES, properties, secret, secured
from interop.jars import CURRENT, ROOT
from interop.tls import Certificates, key_stores

SCENARIOS = ("round-trip", "group")
MECHANISMS = ("PLAIN", "SCRAM-SHA-512", "OAUTHBEARER")
# What clients use, and what the brokers do.
LOGINS = (("SASL_SSL", "SASL_PLAINTEXT"), ("SASL_PLAINTEXT", "SASL_SSL"), ("SASL_SSL", "SASL_SSL"))


@contextlib.contextmanager
def proxied(
    run: Run, upstream: str, protocol: str, certificates: Certificates, config: str | None = None
) -> Iterator[str]:
    """Run the command; gives the address for clients."""
    listener = run.folder / "listener.properties"
    listener.write_text("".join(f"{key}={value}\n" for key, value in key_stores(certificates).items()))
    command = [PYTHON, "-P", "-m", "kwire", "proxy", "--upstream", upstream, "--listen", f"{protocol}://localhost:0"]
    command += ["--listener-config", str(listener)] if protocol.endswith("SSL") else []
    command += ["--config", config] if config else []
    log = run.folder / "proxy.log"
    with log.open("ab") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(f"ready {protocol}://"), (line, log.read_text())
        yield line.strip().rpartition("://")[2]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def certificates_of(run: Run) -> Certificates:
    return Certificates(run.folder / "certificates")


@case("proxy", "tls", "confluent-kafka", smoke=True)
def librdkafka(run: Run) -> None:
    certificates = certificates_of(run)
    with proxied(run, run.bootstrap, "SSL", certificates) as server:
        program = [sys.executable, "-W", "ignore", str(ROOT / "interop" / "clients" / "confluent.py")]
        for scenario in SCENARIOS:
            environment = {**os.environ, **certificates.environment(own=False)}
            run.program([*program, server, scenario, run.unique(scenario)], env=environment).ok().prints("ok")


@case("proxy", "tls", "java")
def java(run: Run) -> None:
    certificates = certificates_of(run)
    path = str(certificates.properties(own=False))
    with proxied(run, run.bootstrap, "SSL", certificates) as server:
        for scenario in SCENARIOS:
            run.jvm.run(CURRENT, "JavaClient", server, scenario, run.unique(scenario), path, timeout_s=120).ok().prints(
                "ok"
            )
        topic = run.unique("described")
        at = ("--bootstrap-server", server, "--command-config", path)
        run.tool("topics", *at, "--create", "--topic", topic, "--partitions", "2").ok()
        assert "PartitionCount: 2" in run.tool("topics", *at, "--describe", "--topic", topic).ok().out


@case("proxy", "tls", "logins-with-tls-on-either-side")
def logins(run: Run) -> None:
    """SASL passes through the proxy whichever sides use TLS."""
    broker = secured(run)
    own = certificates_of(run)
    trust = properties(
        run,
        f"security.protocol=SASL_SSL\nssl.truststore.type=PEM\nssl.truststore.location={broker.certificates.ca}\n",
    )
    for clients, brokers in LOGINS:
        upstream, config = (broker.tls_server, trust) if brokers == "SASL_SSL" else (broker.server, None)
        with proxied(run, upstream, clients, own, config) as server:
            for mechanism in MECHANISMS:
                _log_in(run, server, clients, mechanism, own)


def _log_in(run: Run, server: str, protocol: str, mechanism: str, certificates: Certificates) -> None:
    """Write and read with librdkafka and the Java client."""
    environment = dict(os.environ)
    text = PROPERTIES[mechanism]
    if protocol == "SASL_SSL":
        environment |= certificates.environment(own=False, protocol=protocol)
        text = text.replace("SASL_PLAINTEXT", protocol)
        text += f"ssl.truststore.type=PEM\nssl.truststore.location={certificates.ca}\n"
    program = [sys.executable, "-W", "ignore", str(ROOT / "interop" / "clients" / "logins.py"), "confluent-kafka"]
    arguments = [server, run.unique("login"), mechanism, "alice", secret(mechanism)]
    run.program([*program, *arguments], env=environment).ok().prints("ok")
    java_arguments = (server, "round-trip", run.unique("login"), properties(run, text))
    run.jvm.run(CURRENT, "JavaClient", *java_arguments, timeout_s=120).ok().prints("ok")
