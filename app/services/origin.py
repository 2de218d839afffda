"""Where a request comes from, by what can be known of it."""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

_PROXIED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")


def is_from_here(client: str | None, headers: Mapping[str, str]) -> bool:
    """Whether a program on this machine asks, for itself and by this machine's own name.

    The name matters because a page in a browser here can have its own name point to this machine.

    Args:
        client: The address at the other end, if it is known.
        headers: Of the request, found by their names in lower case.
    """
    host = _host(headers)
    is_by_name = host == "localhost" or is_loopback(host)
    is_for_itself = not any(name in headers for name in _PROXIED)
    return bool(client) and is_loopback(client or "") and is_by_name and is_for_itself


def is_from_own_page(headers: Mapping[str, str]) -> bool:
    """Whether a browser sends this from a page of this server; what sends no origin is no browser's doing."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    try:
        return urlsplit(origin).netloc == headers.get("host", "")
    except ValueError:
        return False


def is_loopback(address: str) -> bool:
    """Whether an IP address is this machine's own, for itself only."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def _host(headers: Mapping[str, str]) -> str:
    """The name the request was sent to, without a port."""
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""
