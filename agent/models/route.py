"""How a server is reached: directly or by a proxy, and with which certificates.

The environment decides, as with every program. What cannot be used is named by its variable, and
only where it would be used.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
import socket
import urllib.request
from contextlib import suppress
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from agent.models.types import Misconfigured

try:
    from socksio import SOCKSError as SOCKSError  # not every client makes its own of it
except ImportError:
    SOCKSError = httpx2.ProxyError  # type: ignore[misc,assignment]

_Number = ipaddress.IPv4Address | ipaddress.IPv6Address
_HERE = re.compile(r"(?:.+\.)?localhost|ip6-localhost|localhost6?(?:\.localdomain6?)?")
MISTAKES = {
    "CERTIFICATE_VERIFY_FAILED": "if it is to be trusted, let SSL_CERT_FILE name who signed",
    "WRONG_VERSION_NUMBER": "the server speaks no TLS there: try http:// instead of https://",
    "Malformed reply": "what is there speaks no SOCKS: try http://",
    "407 ": "the proxy wants a user and a password: http://USER:PASSWORD@HOST:PORT",
}
"""What to do about failures to connect that no waiting mends."""
NO_SUCH_NAME = re.compile(r"\[Errno (?:-\d+|8|1100[124])\]|getaddrinfo failed")
"""In the words of a failure to look a host's name up: numbers of Linux, macOS and Windows."""


def options(url: str) -> dict[str, Any]:
    """Arguments for an HTTP client that talks to ``url``.

    Raises:
        Misconfigured: the environment names a proxy or certificates that cannot be used.
    """
    secure = urlsplit(url).scheme == "https"
    return {"trust_env": False, "proxy": _proxy(url), "verify": _certificates(secure)}


def proxy_variable(url: str) -> str:
    """The variable that names the proxy for ``url``, "" if it is reached directly."""
    kinds, proxies = (urlsplit(url).scheme, "all"), urllib.request.getproxies()
    kind = next((k for k in kinds if proxies.get(k, "").strip()), "")
    if not kind or is_direct(url):
        return ""
    named = [name for name in os.environ if name.lower() == f"{kind}_proxy" and os.environ[name]]
    return min(named, key=str.isupper, default=f"the system's {kind} proxy")


def is_direct(url: str) -> bool:
    """Whether no proxy is asked: for this machine, and for what NO_PROXY names."""
    address = urlsplit(url)
    port = address.port or (443 if address.scheme == "https" else 80)
    name = (address.hostname or "").rstrip(".")
    number = _number(name)
    own = _HERE.fullmatch(name) or name == socket.gethostname().lower()
    here = number.is_loopback or number.is_unspecified if number else own
    excepted = re.split(r"[\s,;]+", urllib.request.getproxies().get("no", "").lower())
    listed = any(_excepts(part, name, number, port) for part in excepted if part)
    return bool(here or urllib.request.proxy_bypass(name)) or listed


def _excepts(part: str, name: str, number: _Number | None, port: int) -> bool:
    """Whether a part of NO_PROXY is a host, one above it or its network, and has no other port."""
    part = part.rpartition("://")[2].rstrip("./")
    if at_port := re.fullmatch(r"(\[.*\]|[^:]*):(\d+)", part):
        part = at_port[1]
        if int(at_port[2]) != port:
            return False
    with suppress(ValueError):
        if number:
            return number in ipaddress.ip_network(part.strip("[]"), strict=False)
    return fnmatch(name, part) or name.endswith("." + part.lstrip("."))


def _number(name: str) -> _Number | None:
    """The address that a host's name is, also in a short form such as 127.1."""
    for read in (str, lambda short: socket.inet_ntoa(socket.inet_aton(short))):
        with suppress(OSError, ValueError):
            number = ipaddress.ip_address(read(name))
            return getattr(number, "ipv4_mapped", None) or number
    return None


def _proxy(url: str) -> httpx2.Proxy | None:
    variable = proxy_variable(url)
    if not variable:
        return None
    proxies, address = urllib.request.getproxies(), urlsplit(url)
    given = proxies.get(address.scheme, "").strip() or proxies["all"].strip()
    # The desktops' own spelling for SOCKS, whose fifth version they mean.
    given = re.sub(r"^socks://", "socks5://", given, flags=re.IGNORECASE)
    otherwise = f"or go without: export NO_PROXY={address.hostname}"
    try:
        proxy = httpx2.Proxy(given if "://" in given else f"http://{given}")
        port = 80 if proxy.url.port is None else proxy.url.port
        usable = bool(re.fullmatch(r"[\w.:-]+", proxy.url.host)) and 0 < port < 1 << 16
        usable &= proxy.url.path in ("", "/")  # else a colon is missing, or it is a script
    except (ValueError, httpx2.InvalidURL):
        usable = False
    if not usable:
        # Its value is not shown: it may hold a password.
        raise Misconfigured(
            f"{variable} holds no proxy that can be used: write http://HOST:PORT or "
            f"socks5://HOST:PORT, {otherwise}"
        )
    if proxy.url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise Misconfigured(
            f'{variable} names a SOCKS proxy: pip install "httpx2[socks]", {otherwise}'
        )
    return proxy


def _certificates(needed: bool) -> Any:
    """Of the two variables only the first that is set is looked at, as in httpx2."""
    variables = ("SSL_CERT_FILE", "SSL_CERT_DIR") if needed else ()
    name = next((name for name in variables if os.environ.get(name)), "")
    try:
        if name and not Path(os.environ[name]).exists():
            raise FileNotFoundError(0, "there is no such file or folder")
        return httpx2.create_ssl_context() if needed else _unused_certificates()
    except OSError as error:
        given = f"{name}={os.environ[name]}" if name else "the system's"
        raise Misconfigured(
            f"there are no certificates to check servers with: {given}: {error.strerror or error}; "
            "correct it or unset it"
        ) from None


@functools.cache
def _unused_certificates() -> Any:
    """For addresses without TLS: clients want some, and to read the system's takes 20 ms."""
    return httpx2.create_ssl_context(trust_env=False)


def addresses(url: str) -> list[str]:
    """Where a server may be, of which ``url`` is known: with and without the usual path."""
    bare = re.sub(r"(?:/chat)?/(?:completions|messages|models|responses)$", "", url.rstrip("/"))
    root = re.sub(r"(?<=[^/:])/.*", "", bare)
    above = re.sub(r"/v\d+$", "", bare)
    paths = (bare, f"{bare}/v1", above, f"{root}/v1", f"{root}/api/v1", f"{root}/openai/v1", root)
    return list(dict.fromkeys((url, *paths)))
