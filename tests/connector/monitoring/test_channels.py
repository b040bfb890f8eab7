"""Channels: what reaches each service, what is said when it does not, and that no secret is in it. Real servers."""

import email
import email.policy
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from connector.monitoring.channels import AppriseService, Failure, Line, Message, channel, is_understood
from tests.support.service_servers import HttpService, SmtpService, http_service, https_services, smtp_service

BEGUN = Message.of_lines((Line("denied:acme:C1", "Problem: store acme: <!channel> @everyone & co"),))
OVER = Message.of_lines((Line("denied:acme:C1", "Over after 3 hours: store acme", is_over=True),))
TOKEN = "xsecretx"
TEAMS = "prod-1.westeurope.logic.azure.com"
HOSTS = ["hooks.slack.com", "discord.com", "api.telegram.org", "events.pagerduty.com", TEAMS]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpService]:
    with https_services(tmp_path_factory.mktemp("certificates"), HOSTS) as server:
        yield server


@pytest.fixture(scope="module")
def http() -> Iterator[HttpService]:
    with http_service() as server:
        yield server


@pytest.fixture(scope="module")
def smtp() -> Iterator[SmtpService]:
    with smtp_service() as server:
        yield server


@pytest.fixture(autouse=True)
def clean(services: HttpService, http: HttpService, smtp: SmtpService) -> None:
    for server in (services, http):
        server.status, server.body = 200, b""
        server.requests.clear()
    smtp.answers.clear()
    smtp.mails.clear()


def send(address: str, message: Message = BEGUN) -> Failure | None:
    with httpx.Client(timeout=60) as client:
        return channel(address, client).send(message)


def test_a_plain_webhook_gets_the_bytes_it_has_always_got(http: HttpService) -> None:
    """Whatever its host: also Slack's own, whose address is a plain one."""
    assert send(f"http://{http.place}/services/T/B/{TOKEN}") is None
    (request,) = http.requests
    assert request.body == b'{"text":"Problem: store acme: &lt;!channel&gt; @everyone &amp; co"}'
    assert request.headers["content-type"] == "application/json"
    assert request.path == f"/services/T/B/{TOKEN}"


@pytest.mark.parametrize(
    ("address", "host", "path"),
    [
        (f"slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7{TOKEN[:2]}/", HOSTS[0], "/services/T1JJ3T3L2/A1BRTD4JD/"),
        (f"discord://4174216298/{TOKEN}", HOSTS[1], f"/api/webhooks/4174216298/{TOKEN}"),
        (f"https://discord.com/api/webhooks/4174216298/{TOKEN}", HOSTS[1], f"/api/webhooks/4174216298/{TOKEN}"),
        ("tgram://123456789:AAabcdefghijklmnopqrstuvwxyz123456/987654321", HOSTS[2], "/bot123456789:AA"),
        (f"workflows://{TEAMS}/643e/{TOKEN}/", TEAMS, "/workflows/643e/"),
    ],
)
def test_services_of_apprise(services: HttpService, address: str, host: str, path: str) -> None:
    """Each gets the title and the text in its own form; nobody is mentioned, and nothing is of Apprise's own."""
    assert send(address) is None
    (request,) = services.requests
    assert request.host == host
    assert path in request.path
    told = "\n".join(_texts(request.json()))
    assert "Connector" in told
    assert "1 problem" in told
    assert "Problem: store acme" in told
    assert "@everyone" not in told
    assert "<!channel" not in told
    assert b"pprise" not in request.body


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, dict | list):
        for one in node.values() if isinstance(node, dict) else node:
            yield from _texts(one)
    elif isinstance(node, str):
        yield node


def test_pagerduty_resolves_an_incident_when_its_problem_is_over(
    services: HttpService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One incident a problem, by the problem's key."""
    # Apprise leaves 5.5 seconds between two requests.
    monkeypatch.setattr("apprise.plugins.pagerduty.NotifyPagerDuty.request_rate_per_sec", 0.0)
    services.status = 202
    address = "pagerduty://integrationkey1234567890@apikey"
    both = Message.of_lines((*BEGUN.lines, Line("lag:acme:C1", "Problem: late")))
    assert send(address, both) is None
    assert send(address, OVER) is None
    told = [request.json() for request in services.requests]
    assert [(one["event_action"], one["dedup_key"]) for one in told] == [
        ("trigger", "denied:acme:C1"), ("trigger", "lag:acme:C1"), ("resolve", "denied:acme:C1"),
    ]  # fmt: skip
    assert told[1]["payload"]["summary"] == "Problem: late"


def test_a_long_message_is_split_for_a_service_with_a_limit(services: HttpService) -> None:
    """Discord takes 2,000 characters: everything arrives, in several messages."""
    lines = tuple(Line(f"denied:{number}", f"Problem: {number:02} {'x' * 200}.") for number in range(20))
    assert send(f"discord://4174216298/{TOKEN}", Message.of_lines(lines)) is None
    told = [str(request.json()) for request in services.requests]
    assert len(told) > 1
    assert all(any(f"Problem: {number:02} " in text for text in told) for number in range(20))


def test_mail(smtp: SmtpService) -> None:
    """A mail to every recipient, with a subject and plain words."""
    assert send(mailto(smtp, to="ops@example.com,shop@example.com")) is None
    assert [mail.recipients for mail in smtp.mails] == [["TO:<ops@example.com>"], ["TO:<shop@example.com>"]]
    mail = email.message_from_string(smtp.mails[0].text, policy=email.policy.default)
    body = mail.get_body(("plain",))
    assert mail["Subject"] == "Connector: 1 problem"
    assert body
    assert "Problem: store acme" in body.get_content()
    assert "pprise" not in smtp.mails[0].text


def mailto(smtp: SmtpService, to: str = "ops@example.com") -> str:
    return f"mailto://user:{TOKEN}@{smtp.place}?smtp=127.0.0.1&mode=insecure&from=shop@example.com&to={to}"


class TestFailing:
    """Why, and what to do; never the address, a recipient or what the service answered."""

    @pytest.mark.parametrize(
        ("status", "why", "remedy"),
        [
            (302, "HTTP 302: redirects are not followed", "set the final address"),
            (400, "HTTP 400", "compare each part of the address"),
            (403, "HTTP 403", "make a new one in the service"),
            (404, "HTTP 404", "copy it from the service again"),
            (429, "HTTP 429", "try again in a few minutes"),
            (503, "HTTP 503", "try again later"),
        ],
    )
    @pytest.mark.parametrize("scheme", ["http", "json"])
    def test_statuses(self, http: HttpService, scheme: str, status: int, why: str, remedy: str) -> None:
        """The same words for both kinds of address; a redirect is followed by neither."""
        http.status = status
        failure = send(f"{scheme}://{http.place}/{TOKEN}")
        assert failure
        assert failure.why == why
        assert remedy in failure.remedy
        assert len(http.requests) == 1

    @pytest.mark.parametrize(
        ("answers", "why", "remedy"),
        [
            ({"AUTH": "535 5.7.8 no"}, "SMTP 535", "user name or password"),
            ({"RCPT": "550 no such user"}, "SMTP 550", "a recipient"),
            ({"MAIL": "451 later"}, "SMTP 451", "try again later"),
        ],
    )
    def test_mail_that_is_refused(self, smtp: SmtpService, answers: dict[str, str], why: str, remedy: str) -> None:
        """By the server's status."""
        smtp.answers |= answers
        failure = send(mailto(smtp))
        assert failure
        assert failure.why == why
        assert remedy in failure.remedy

    def test_a_service_that_answers_200_and_says_no(self, services: HttpService) -> None:
        """Slack's answer to a message that was taken is "ok"."""
        services.body = b"no_service"
        failure = send("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7xs/")
        assert failure
        assert failure.why == "the service did not take the message"

    @pytest.mark.parametrize(
        "address",
        [
            "json://127.0.0.1:1/x",
            "mailto://u:p@127.0.0.1:1?smtp=127.0.0.1&mode=insecure&from=a@example.com&to=a@example.com",
        ],
    )
    def test_nobody_answers(self, address: str) -> None:
        """The port is closed."""
        failure = send(address)
        assert failure
        assert failure.why == "no answer"
        assert "host and port" in failure.remedy

    @pytest.mark.parametrize("address", ["slak://A/B/C", "slack://", "tgram://no", "pagerduty://x"])
    def test_an_address_that_is_not_understood(self, address: str) -> None:
        """The page of the service is named, the address is not."""
        failure = send(address)
        assert failure == Failure(
            "the address is not understood",
            f"write it as https://appriseit.com/services/ says of the service {address.partition(':')[0]}://",
        )

    def test_addresses_as_the_documentation_writes_them(self) -> None:
        """Are understood, once the words in capitals are replaced."""
        page = (Path(__file__).parents[3] / "docs/running.md").read_text(encoding="utf-8")
        written = re.findall(r"`((?:mailtos|tgram|pagerduty)://[^`…]+)`", page)
        assert len(written) == 3
        for address in written:
            assert is_understood(address.replace("BOT-TOKEN", "123456789:AAabcdefghijklm").replace("CHAT-ID", "987654"))
        assert is_understood("https://hooks.slack.com/services/T/B/C")

    def test_a_fault_of_a_plugin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its name only: its words may hold anything."""

        def broken(*_: Any, **__: Any) -> None:
            raise RuntimeError(TOKEN)

        monkeypatch.setattr("apprise.plugins.custom_json.NotifyJSON.notify", broken)
        failure = AppriseService(f"json://127.0.0.1:1/{TOKEN}").send(BEGUN)
        assert failure
        assert failure.why == "not delivered (RuntimeError)"

    def test_no_secret_is_logged(
        self, services: HttpService, http: HttpService, smtp: SmtpService, caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        """Neither by us, nor by Apprise and the libraries below it, at any level; delivered or not."""
        from connector.core import logs

        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        logs.set_up("text", "DEBUG")
        root.addHandler(caplog.handler)
        try:
            addresses = [
                f"http://{http.place}/{TOKEN}",
                f"json://{http.place}/{TOKEN}",
                mailto(smtp, f"{TOKEN}@example.com"),
            ]
            addresses += [f"discord://4174216298/{TOKEN}", f"slak://{TOKEN}"]
            for status, answers in ((200, {}), (404, {"RCPT": "550 no"})):
                services.status = http.status = status
                smtp.answers |= answers
                failures = [send(address) for address in addresses]
                assert TOKEN not in f"{failures}"
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
        printed = "".join(capfd.readouterr())
        assert TOKEN not in caplog.text + printed
        assert "127.0.0.1" not in printed


@pytest.mark.processes
def test_apprise_is_loaded_by_the_first_message_only() -> None:
    """Neither the web server nor the command line loads it, nor the relay before it has to."""
    modules = "connector.cli.main, connector.web.asgi, connector.server.relay_process, connector.cli.alerts"
    code = f"import sys, {modules}; print([name for name in sys.modules if name.startswith('apprise')])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=Path(__file__).parents[3]) == "[]\n"
