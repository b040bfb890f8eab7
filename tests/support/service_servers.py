"""Servers of the services that alerts are sent to, on loopback: HTTP, HTTPS under any host's name, and SMTP."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Request:
    """What came: the host's name, the path, the headers and the body's bytes."""

    host: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class HttpService(ThreadingHTTPServer):
    """Answers every POST with `status`, and keeps what came. While `silent` is set, nothing is answered."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HttpHandler)
        self.status = 200
        self.body = b""  # what is answered, in place of the usual
        self.requests: list[Request] = []
        self.silent = False
        self.free = threading.Event()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _HttpHandler(BaseHTTPRequestHandler):
    server: HttpService

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append(Request(headers.get("host", ""), self.path, headers, body))
        if self.server.silent:
            self.server.free.wait(60)
            return
        usual = b"ok" if "slack" in headers.get("host", "") else b'{"ok": true, "result": []}'
        answer = self.server.body or usual
        self.send_response(self.server.status)
        if 300 <= self.server.status < 400:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def http_service() -> Iterator[HttpService]:
    server = HttpService()
    yield from _running(server)


@contextmanager
def https_services(folder: Path, hosts: list[str]) -> Iterator[HttpService]:
    """One server that is all of these hosts, with a certificate of an authority of its own."""
    server = HttpService()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(folder, hosts))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    ours = socket.getaddrinfo("127.0.0.1", server.server_port, type=socket.SOCK_STREAM)
    usual = socket.getaddrinfo
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            socket, "getaddrinfo", lambda host, *args, **named: ours if host in hosts else usual(host, *args, **named)
        )
        patch.setenv("REQUESTS_CA_BUNDLE", str(folder / "authority.pem"))
        yield from _running(server)


def _running(server: HttpService) -> Iterator[HttpService]:
    threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True).start()
    yield server
    server.free.set()
    server.shutdown()
    server.server_close()


def _certificate(folder: Path, hosts: list[str]) -> Path:
    """Write key and certificate of `hosts` into one file, and the authority's certificate into another."""
    root, key, now = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)

    def signed(name: str, public: Any, *extensions: x509.ExtensionType) -> x509.Certificate:
        builder = x509.CertificateBuilder(
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")]),
            public_key=public,
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(days=1),
            not_valid_after=now + timedelta(days=1),
        )
        for extension in extensions:
            builder = builder.add_extension(
                extension, critical=isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
            )
        return builder.sign(root, hashes.SHA256())

    # Python 3.13 verifies strictly: an authority says what its key is for, and both name that key.
    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    authority = signed(
        "tests",
        root.public_key(),
        x509.BasicConstraints(ca=True, path_length=None),
        x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage),
        x509.SubjectKeyIdentifier.from_public_key(root.public_key()),
    )
    of_root = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key())
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    of_hosts = signed(hosts[0], key.public_key(), names, of_root)
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(authority.public_bytes(pem))
    both = folder / "hosts.pem"
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    both.write_bytes(private + of_hosts.public_bytes(pem))
    return both


@dataclass
class Mail:
    """What an SMTP client said before and in DATA."""

    recipients: list[str] = field(default_factory=list)
    text: str = ""


class SmtpService(ThreadingTCPServer):
    """Takes mail after a log-in; `answers` replaces the answer to a command ("AUTH", "RCPT", …)."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _SmtpHandler)
        self.answers: dict[str, str] = {}
        self.mails: list[Mail] = []

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _SmtpHandler(StreamRequestHandler):
    server: SmtpService

    def handle(self) -> None:
        """https://www.rfc-editor.org/rfc/rfc5321"""
        usual = {"EHLO": "250-here\r\n250 AUTH PLAIN", "AUTH": "235 in", "DATA": "354 go on", "QUIT": "221 bye"}
        self._say("220 here")
        mail = Mail()
        while line := self.rfile.readline().decode().strip():
            verb, _, rest = line.partition(" ")
            verb = verb.upper()
            self._say(answer := self.server.answers.get(verb, usual.get(verb, "250 ok")))
            if verb == "RCPT":
                mail.recipients.append(rest.replace("to:", "TO:", 1))  # small letters from Python 3.13 on
            if verb == "DATA" and answer.startswith("354"):
                mail.text = "".join(line.decode() for line in iter(self.rfile.readline, b".\r\n"))
                self.server.mails.append(mail)
                mail = Mail()
                self._say("250 taken")
            if verb == "QUIT":
                return

    def _say(self, answer: str) -> None:
        self.wfile.write(f"{answer}\r\n".encode())


@contextmanager
def smtp_service() -> Iterator[SmtpService]:
    server = SmtpService()
    threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
