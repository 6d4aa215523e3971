"""Addresses, written `host:port`: what a tier listens on and what it connects to.

A host is an IPv4 address, an IPv6 address in brackets, or a DNS name; the port is 1 to 65535. The
settings keep one canonical spelling (names in lower case, IPv6 compressed as RFC 5952 has it), so
that two keys with the same address are equal as text. `split_address` is how the rest of the
program takes an address apart. Nothing is resolved here.
"""

import ipaddress
import re

from pydantic.json_schema import JsonSchemaValue

from edge.settings.scalars import Form, shown

_EXAMPLE = "127.0.0.1:8080, [::1]:8080 or web1.example:8080"
_PORT_MAX = 65_535
_NAME_CHARS_MAX = 253
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"


def split_address(address: str) -> tuple[str, int]:
    """Host (IPv6 without its brackets) and port of `host:port`; ValueError says what is wrong."""
    if "/" in address:
        raise ValueError(f"must be host:port without scheme or path, not {shown(address)}")
    host, colon, port_text = address.rpartition(":")
    if not colon or address.endswith("]"):
        raise ValueError(f"must be host:port such as {_EXAMPLE}; {shown(address)} has no port")
    if not re.fullmatch(r"[0-9]{1,5}", port_text) or not 1 <= int(port_text) <= _PORT_MAX:
        raise ValueError(f"must have a port from 1 to {_PORT_MAX}, not {shown(port_text)}")
    return _canonical_host(host, port_text), int(port_text)


def join_address(host: str, port: int) -> str:
    """`host:port`, with the brackets that an IPv6 address needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _canonical_host(host: str, port_text: str) -> str:
    if host in ("", "*"):
        right = f"0.0.0.0:{port_text} for every IPv4 address, [::]:{port_text} for IPv6"
        raise ValueError(f"must name a host: {right}")
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError(f"must have an IPv6 address in brackets, not {shown(host)}") from None
    if ":" in host:
        raise ValueError(f"must have IPv6 in brackets, as in [::1]:{port_text}, not {shown(host)}")
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError(f"must have a valid IPv4 address, not {shown(host)}") from None
    if len(host) > _NAME_CHARS_MAX or not re.fullmatch(rf"{_LABEL}(?:\.{_LABEL})*\.?", host):
        raise ValueError(f"must be host:port such as {_EXAMPLE}; {shown(host)} is no host")
    return host.lower()


class Host(Form):
    """Marker of a field that holds a host: an IP address without brackets, or a name."""

    def parse(self, value: object) -> str:
        """The canonical spelling."""
        if not isinstance(value, str):
            raise ValueError(f"must be a host such as 10.0.0.7 or web1.example, not {shown(value)}")
        return _canonical_host(f"[{value}]" if ":" in value else value, "0")

    def json_forms(self) -> list[JsonSchemaValue]:
        """A string; its pattern is wider than the rules above."""
        return [{"type": "string", "pattern": r"^[^\s/]+$"}]


class Address(Form):
    """Marker of a field that holds `host:port`."""

    def parse(self, value: object) -> str:
        """The canonical spelling."""
        if not isinstance(value, str):
            raise ValueError(f"must be host:port such as {_EXAMPLE}, not {shown(value)}")
        return join_address(*split_address(value))

    def json_forms(self) -> list[JsonSchemaValue]:
        """A string; its pattern is wider than the rules above, which no pattern can hold."""
        return [{"type": "string", "pattern": r"^[^\s/]+:[0-9]{1,5}$", "x-unit": "host:port"}]
