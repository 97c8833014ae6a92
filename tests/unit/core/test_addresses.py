"""An address is public if the whole internet reaches one host by it, and by nothing inside it another."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from core.addresses import is_public, literal


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.31.255.255", "192.168.0.1"),
        *("168.63.129.16", "192.88.99.1", "198.19.0.1", "224.0.0.251", "255.255.255.255"),
        *(
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1.1.1.1",
            "2002:101:101::1",
            "2001:0:101:101::",
        ),
        *("fe80::1", "fec0::1", "fd00::1", "ff0e::1", "2001:db8::1", "::1.1.1.1", "2606::5efe:10.0.0.1"),
        "2001:0:101:101::",
    ],
)
def test_all_others_are_not(address: str) -> None:
    assert not is_public(ip_address(address))


def test_an_address_is_known_in_every_spelling() -> None:
    spellings = ("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.1", "0x7F.0.0.0x1")

    assert {str(literal(one)) for one in spellings} == {"127.0.0.1"}
    assert literal("example.org") is None
    with pytest.raises(ValueError, match="ends in a number"):
        literal("example.1")
