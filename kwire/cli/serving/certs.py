"""``kwire certs``: certificates for development, and the settings of clients to paste.

Responsible for: the files and their modes, and the text that is printed. Must not depend on: how certificates are made
(``kwire.security.tls.development``).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

_BROKER: Final = """\
# For kwire serve --config, and for Apache Kafka.
listeners=SSL://localhost:9093
inter.broker.listener.name=SSL
ssl.keystore.type=PEM
ssl.keystore.location={directory}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={directory}/ca.pem
# With "required", clients need client.pem, and their principal is User:CN={client}.
ssl.client.auth=requested
"""

_JAVA: Final = """\
# For --command-config of kwire and of Kafka's own scripts, and for Java clients.
security.protocol=SSL
ssl.truststore.type=PEM
ssl.truststore.location={directory}/ca.pem
ssl.keystore.type=PEM
ssl.keystore.location={directory}/client.pem
"""

_PASTE: Final = """\
Broker:
  kwire serve --config {directory}/server.properties

Java (client.properties), and --command-config of every script:
{java}
librdkafka, kcat -X, confluent-kafka:
  security.protocol=SSL
  ssl.ca.location={directory}/ca.pem
  ssl.certificate.location={directory}/client.pem
  ssl.key.location={directory}/client.pem

kafka-python, aiokafka:
  context = ssl.create_default_context(cafile="{directory}/ca.pem")
  context.load_cert_chain("{directory}/client.pem")
  KafkaProducer(bootstrap_servers="localhost:9093", security_protocol="SSL", ssl_context=context)

Go (franz-go):
  authority, _ := os.ReadFile("{directory}/ca.pem")
  roots := x509.NewCertPool()
  roots.AppendCertsFromPEM(authority)
  certificate, _ := tls.LoadX509KeyPair("{directory}/client.pem", "{directory}/client.pem")
  kgo.DialTLSConfig(&tls.Config{{RootCAs: roots, Certificates: []tls.Certificate{{certificate}}}})

A client that shows no certificate leaves the lines with client.pem out.
"""


@click.command(
    epilog="""\b
Examples:
  kwire certs ./certs
  kwire certs ./certs --host kafka --host 192.0.2.7 --client alice --client bob
"""
)
@click.argument("directory", type=click.Path(file_okay=False))
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="One more name or address of the broker, besides localhost, 127.0.0.1 and ::1; may be repeated.",
)
@click.option(
    "--client",
    "clients",
    multiple=True,
    metavar="NAME",
    help="A client to make a certificate for, NAME.pem with the subject CN=NAME; may be repeated. [default: client]",
)
def certs(directory: str, hosts: tuple[str, ...], clients: tuple[str, ...]) -> None:
    """Make an authority and certificates for development in DIRECTORY, and print the settings of clients.

    The files are PEM: ca.pem and ca.key, server.pem, client.pem, and settings in server.properties and
    client.properties. Files with keys are readable by their owner only. If DIRECTORY has an authority already,
    only the certificates that are missing are made; no file is overwritten.
    """
    folder = Path(directory).absolute()
    names = clients or ("client",)
    for name in names:
        if not name or "/" in name or name in {"ca", "server"}:
            raise click.BadParameter(f"{name!r} cannot be the name of a client")
    try:
        written = write_certificates(folder, hosts, names)
    except FileExistsError as error:
        raise click.ClickException(f"{error.filename} exists, and is not overwritten") from error
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from error
    what = f"wrote {', '.join(path.name for path in written)} in {folder}" if written else f"nothing new in {folder}"
    click.echo(f"{what}\n")
    java = "".join(f"  {line}\n" for line in _java(folder, names[0]).splitlines() if not line.startswith("#"))
    click.echo(_PASTE.format(directory=folder, java=java).replace("client.pem", f"{names[0]}.pem"), nl=False)


def _java(folder: Path, client: str) -> str:
    return _JAVA.format(directory=folder).replace("client.pem", f"{client}.pem")


def write_certificates(
    folder: Path, hosts: tuple[str, ...], clients: tuple[str, ...], *, files: bool = True
) -> list[Path]:
    """Write what is missing; returns the new files. ``files``: also files of settings.

    Raises FileExistsError for a file that would have to change, OSError, and ValueError for an authority that cannot
    be read.
    """
    from kwire.security.tls.development import LOCAL_HOSTS, make_authority, read_authority

    now = datetime.now(UTC)
    authority_files = (folder / "ca.key", folder / "ca.pem")
    contents: dict[Path, str] = {}
    if all(path.exists() for path in authority_files):
        try:
            authority = read_authority(*(path.read_bytes() for path in authority_files))
        except ValueError as error:
            raise ValueError(f"{folder} has an authority that cannot be read: {error}") from error
    else:
        authority = make_authority("kwire development authority", now=now)
        contents |= {authority_files[0]: authority.key_pem, authority_files[1]: authority.certificate_pem}
    server = folder / "server.pem"
    if hosts or not server.exists():
        contents[server] = authority.issue("localhost", hosts=[*LOCAL_HOSTS, *hosts], now=now).pem
    for client in clients:
        path = folder / f"{client}.pem"
        if client != "client" or not path.exists():
            contents[path] = authority.issue(client, now=now).pem
    if files:
        texts = {"server": _BROKER.format(directory=folder, client=clients[0]), "client": _java(folder, clients[0])}
        properties = {folder / f"{name}.properties": text for name, text in texts.items()}
        contents |= {path: text for path, text in properties.items() if not path.exists()}
    for path in contents:
        if path.exists():
            raise FileExistsError(17, "exists", str(path))
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in contents.items():
        _write(path, text)
    return list(contents)


def _write(path: Path, text: str) -> None:
    """Write a new file; one with a key is for its owner only, from the first byte on."""
    mode = 0o600 if "PRIVATE KEY" in text else 0o644
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
