"""Which network addresses are everybody's: the rule under every outgoing fetch.

`core.links` asks it about a URL that names an address itself, `workers.outgoing` about every address that is to be
connected to. Private networks, this machine, and the services by which clouds hand out secrets are not public; neither
is an address that carries one of these inside.
"""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

_NOT_FETCHED_4 = (
    IPv4Network("100.64.0.0/10"),  # shared by carriers, and where one cloud answers for its machines
    IPv4Network("168.63.129.16/32"),  # another cloud's answers to its own machines
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
)
_UNICAST_6 = IPv6Network("2000::/3")
_TUNNELS_6 = (IPv6Network("2001::/32"), IPv6Network("2002::/16"))  # Teredo, 6to4
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)", re.ASCII | re.IGNORECASE)


def is_public(address: Address) -> bool:
    """Whether the whole internet reaches this one host by it."""
    if isinstance(address, IPv4Address):
        inside = any(address in network for network in _NOT_FETCHED_4)
        return address.is_global and not address.is_multicast and not inside
    if (within := _within(address)) is not None:
        return is_public(within)
    return address in _UNICAST_6 and address.is_global and not any(address in network for network in _TUNNELS_6)


def _within(address: IPv6Address) -> IPv4Address | None:
    """The address of IPv4 that packets to this one are sent to, by the forms that a network may translate."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    low = int(address) & 0xFFFFFFFF
    if address in _NAT64:
        return IPv4Address(low)
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP and not is_public(IPv4Address(low)):
        return IPv4Address(low)
    return None


def literal(host: str) -> Address | None:
    """The address that a host of a URL is by itself, in any spelling that some resolver takes; None for a name.

    `127.1`, `2130706433`, `0x7f.1` and `0177.0.0.1` are all 127.0.0.1. Raises `ValueError` for what ends like an
    address of IPv4 and is none: no name ends in a number.
    """
    if ":" in host:
        return ip_address(host.partition("%")[0])
    if not _NUMERIC.fullmatch(host.rsplit(".", 1)[-1]):
        return None
    if not all(_NUMERIC.fullmatch(part) for part in host.split(".")):
        raise ValueError("a name that ends in a number")
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError as error:
        raise ValueError("no address of IPv4") from error
