"""Where a schema registry is."""

import pytest

from kwire.schemas.address import AddressError, RegistryAddress, read_address


def test_user_and_password_are_not_part_of_what_is_shown():
    address = read_address("https://ana:p%40ss@registry.example:8443/apis/ccompat/v7/")
    assert address == RegistryAddress("https://registry.example:8443/apis/ccompat/v7", "ana", "p@ss")
    assert address.name == "registry https://registry.example:8443/apis/ccompat/v7"


def test_an_ipv6_address_keeps_its_brackets():
    assert read_address("http://[::1]:8081").url == "http://[::1]:8081"


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("localhost:8081", {}, "is such as http://localhost:8081"),
        ("ftp://localhost", {}, "is such as http://localhost:8081"),
        ("http://", {}, "is such as http://localhost:8081"),
        ("http://localhost?a=b", {}, "is such as http://localhost:8081"),
        ("http://localhost:port", {}, "cannot be read"),
        ("http://ana:secret@localhost", {"token": "t"}, "or a token, not both"),
        ("http://localhost", {"ca_file": "ca.pem"}, "with an https address"),
    ],
)
def test_an_address_that_cannot_be_used_gives_one_sentence(text, options, sentence):
    with pytest.raises(AddressError, match=sentence) as error:
        read_address(text, **options)
    assert "secret" not in str(error.value)
