"""How a server is reached: directly or by a proxy, and with which certificates.

The environment decides, as with every program. What cannot be used is named by its variable, and
only where it would be used.
"""

from __future__ import annotations

import ipaddress
import os
import re
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from agent.models.types import Misconfigured


def options(url: str) -> dict[str, Any]:
    """Arguments for an HTTP client that talks to ``url``.

    Raises:
        Misconfigured: the environment names a proxy or certificates that cannot be used.
    """
    address = urlsplit(url)
    return {
        "trust_env": False,
        "proxy": _proxy(address.scheme, address.hostname or ""),
        "verify": _certificates() if address.scheme == "https" else _context(trust_env=False),
    }


def is_direct(host: str) -> bool:
    """Whether no proxy is asked: for this machine, and for what NO_PROXY names."""
    name = host.lower().rstrip(".")
    local = name == "localhost" or name.endswith(".localhost")
    if local or urllib.request.proxy_bypass(host):
        return True
    try:
        number = ipaddress.ip_address(name)
    except ValueError:
        return False
    excepted = urllib.request.getproxies().get("no", "").split(",")
    here = number.is_loopback or number.is_unspecified
    return here or any(_holds(network, number) for network in excepted)


def _holds(network: str, number: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return number in ipaddress.ip_network(network.strip().strip("[]"), strict=False)
    except ValueError:
        return False


def _proxy(scheme: str, host: str) -> httpx2.Proxy | None:
    proxies = urllib.request.getproxies()
    kind = next((kind for kind in (scheme, "all") if proxies.get(kind)), "")
    if not kind or is_direct(host):
        return None
    variable = next(
        (name for name in os.environ if name.lower() == f"{kind}_proxy" and os.environ[name]),
        "the system's setting of a proxy",
    )
    given = proxies[kind].strip()
    # The desktops' own spelling for SOCKS, whose fifth version they mean.
    written = re.sub(r"^socks://", "socks5://", given, flags=re.IGNORECASE)
    try:
        proxy = httpx2.Proxy(written if "://" in written else f"http://{written}")
        usable = bool(proxy.url.host) and (proxy.url.port or 1) < 1 << 16
    except (ValueError, httpx2.InvalidURL):
        usable = False
    if not usable:
        # Its value is not shown: it may hold a password.
        raise Misconfigured(
            f"{variable} is no proxy that can be used for {host}: write http://HOST:PORT or "
            f"socks5://HOST:PORT, or except the host: export NO_PROXY={host}"
        )
    if proxy.url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise Misconfigured(
            f"{variable} names a SOCKS proxy, for which a package is missing: pip install "
            f'"httpx2[socks]", or except the host: export NO_PROXY={host}'
        )
    return proxy


def _certificates() -> Any:
    check_files("SSL_CERT_FILE", "SSL_CERT_DIR")
    return _context(trust_env=True)


def check_files(*variables: str) -> None:
    """
    Raises:
        Misconfigured: one of the variables names a file or folder that is not there.
    """
    for name in variables:
        path = os.environ.get(name, "")
        if path and not Path(path).exists():
            raise Misconfigured(f"{name} names {path}, which is not there: unset it, or correct it")


def _context(*, trust_env: bool) -> Any:
    try:
        return httpx2.create_ssl_context(trust_env=trust_env)
    except OSError as error:
        name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
        raise Misconfigured(
            f"the certificates that {name} names cannot be read: {error.strerror or error}"
        ) from None
