"""GET from a registry over HTTP, on a free port of this machine."""

import ssl
import threading

import certificates
import pytest
from fake_registry import FakeRegistry, served

from kwire.schemas.address import read_address
from kwire.schemas.problems import SchemaError
from kwire.schemas.registry import Registry

pytest.importorskip("httpx2")

from kwire.schemas.http import BODY_BYTES_MAX, make_fetch


@pytest.fixture
def fake():
    return FakeRegistry()


async def sentence(url, answer_s=60, **options):
    address = read_address(url, **options)
    with pytest.raises(SchemaError) as error:
        await Registry(address.name, make_fetch(address), answer_s=answer_s).load(1)
    return str(error.value)


async def test_a_login_is_sent_and_not_shown(fake):
    with served(fake) as url:
        shown = await sentence(url.replace("//", "//ana:secret@"))
        assert shown == f"registry {url} does not have it"
        await sentence(url, token="some.token")
    assert [each.get("Authorization") for each in fake.headers] == ["Basic YW5hOnNlY3JldA==", "Bearer some.token"]


async def test_a_redirect_is_not_followed(fake):
    def respond(handler):
        handler.send_response(302)
        handler.send_header("Location", "/elsewhere")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with served(fake, respond) as url:
        assert "sends elsewhere (HTTP status 302)" in await sentence(url)
    assert len(fake.headers) == 1


# The client's connection pool leaves iterators behind when a body is not read to its end.
@pytest.mark.filterwarnings("ignore:Exception ignored .*<async_generator:pytest.PytestUnraisableExceptionWarning")
async def test_an_answer_that_is_too_large_is_not_read_to_its_end(fake):
    def respond(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" " * 65536)
        except OSError:
            pass

    with served(fake, respond) as url:
        assert f"answered with more than {BODY_BYTES_MAX} bytes" in await sentence(url)


async def test_an_answer_that_does_not_end_is_given_up(fake):
    given_up = threading.Event()

    def respond(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"{")
        given_up.wait(150)

    with served(fake, respond) as url:
        assert "did not answer within 0.2 s" in await sentence(url, answer_s=0.2)
        given_up.set()


async def test_an_address_where_nothing_listens(fake):
    with served(fake) as url:
        pass
    assert await sentence(url) == f"registry {url} cannot be reached: Connection refused"


async def test_a_certificate_is_checked_with_the_given_authority(fake, tmp_path):
    (tmp_path / "server.pem").write_text(certificates.server().pem)
    (tmp_path / "ca.pem").write_text(certificates.authority().certificate_pem)
    (tmp_path / "other.pem").write_text(certificates.untrusted().certificate_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    with served(fake, context=context) as url:
        assert "does not have it" in await sentence(url, ca_file=str(tmp_path / "ca.pem"))
        assert "its certificate is refused" in await sentence(url, ca_file=str(tmp_path / "other.pem"))
        assert "its certificate is refused" in await sentence(url)
