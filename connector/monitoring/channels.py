"""Channels: how a message reaches one address, over plain HTTP or a service of Apprise.

No result contains the address, or a text that the service answered: both can hold secrets.
"""

import logging
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import httpx

from connector.core.alert_address import service_of
from connector.core.text import how_many

if TYPE_CHECKING:
    from apprise import NotifyBase

TIMEOUT = httpx.Timeout(5.0)
_DISCORD = re.compile(r"https://(?:\w+\.)?discord(?:app)?\.com/api/webhooks/\d+/[\w-]+/?", re.ASCII)

# What to do about a failure, by the status with which the service answered.
_REMEDIES = {
    400: "the service does not take the message: compare each part of the address with the service's page",
    401: "the password or token in the address is refused: make a new one in the service",
    403: "the password or token in the address is refused: make a new one in the service",
    404: "the service does not know this address: copy it from the service again",
    405: "this address takes no messages: copy that of the incoming webhook from the service again",
    410: "the service has removed this address: make a new one there",
    429: "the service takes no more messages for now: try again in a few minutes",
}
_NO_ANSWER = "compare the host and port in the address, and see that this machine may connect to them"
NOT_UNDERSTOOD = "the address is not understood"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a message: the beginning of a problem or its end, with the problem's key."""

    key: str
    text: str
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """A text to send, and its title for services that have one; a message about problems consists of `lines`."""

    title: str
    text: str
    lines: tuple[Line, ...] = ()

    @classmethod
    def of_lines(cls, lines: tuple[Line, ...]) -> "Message":
        """Return the message about beginnings and ends of problems."""
        begun = [line for line in lines if not line.is_over]
        over = len(lines) - len(begun)
        parts = [how_many(len(begun), "problem")] if begun else []
        if over:
            parts.append(f"{over} over" if begun else f"{how_many(over, 'problem')} over")
        return cls(f"Connector: {', '.join(parts)}", "\n".join(line.text for line in lines), lines)

    @property
    def is_good_news(self) -> bool:
        """True if every line is the end of a problem."""
        return all(line.is_over for line in self.lines)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a message was not delivered, what to do, and the seconds that the service asks to wait (0: it does not)."""

    why: str
    remedy: str
    pause: float = 0.0


class Channel(Protocol):
    """One address."""

    def send(self, message: Message) -> Failure | None:
        """Send a message; return None when it was delivered, else why not. Never raises."""
        ...


def channel(address: str, client: httpx.Client) -> Channel:
    """Return the channel to an address; plain addresses use the HTTP client."""
    return PlainWebhook(address, client) if _is_plain(address) else AppriseService(address)


def is_understood(address: str) -> bool:
    """Return False if Apprise does not understand the address of a service. Loads Apprise."""
    return _is_plain(address) or apprise_service(address) is not None


def _is_plain(address: str) -> bool:
    """Return True for a web hook. Discord's own address is none: it does not take what other web hooks take."""
    return service_of(address) == "webhook" and not _DISCORD.fullmatch(address)


class PlainWebhook:
    """A Slack-compatible incoming webhook: `{"text": "…"}` by POST, over an injected httpx client.

    https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
    """

    def __init__(self, url: str, client: httpx.Client) -> None:
        self._url = url
        self._client = client

    def send(self, message: Message) -> Failure | None:
        """Post the text. Redirects are not followed: they would carry it to a place that nobody has named."""
        text = message.text if message.lines else f"{message.title}\n{message.text}"
        request = self._client.stream("POST", self._url, json={"text": _escaped(text)}, follow_redirects=False)
        try:
            with request as response:  # the body is not read
                status, retry_after = response.status_code, response.headers.get("Retry-After", "")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return Failure(f"no answer ({type(error).__name__})", _NO_ANSWER)
        pause = float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 0.0
        return None if 200 <= status < 300 else _http_failure(status, pause)


class AppriseService:
    """A service that the library Apprise knows. Apprise is loaded with the first message (0.5 s, 40 MB).

    https://github.com/caronc/apprise
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def send(self, message: Message) -> Failure | None:
        """Send the message; to PagerDuty line by line, so that the end of a problem resolves its incident."""
        with _Reasons() as reasons:
            try:
                service = apprise_service(self._address)
                if service is None:
                    scheme = service_of(self._address)
                    return Failure(
                        NOT_UNDERSTOOD, f"write it as https://appriseit.com/services/ says of the service {scheme}://"
                    )
                delivered = all(_notify(service, part) for part in _parts(service, message))
            except Exception as error:  # a plugin's fault must not end the thread that sends
                return Failure(f"not delivered ({type(error).__name__})", _NO_ANSWER)
        return None if delivered else reasons.failure()


def apprise_service(address: str) -> "NotifyBase | None":
    """Return Apprise's object for an address; None if Apprise does not understand it."""
    from apprise import Apprise, AppriseAsset, OverflowMode  # noqa: PLC0415 (large, and most processes never send)

    # Apprise writes hosts and recipients into its log.
    logger = logging.getLogger("apprise")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    asset = AppriseAsset(
        app_id="Connector", app_desc="Connector", app_url="", image_url_mask="", image_url_logo="", async_mode=False
    )
    service = Apprise.instantiate(address, asset=asset)
    if service is not None:
        service.redirects = False
        service.overflow_mode = OverflowMode.SPLIT
    return service


def _parts(service: "NotifyBase", message: Message) -> list[Message]:
    if not message.lines or not hasattr(service, "dedup"):
        return [message]
    return [Message.of_lines((line,)) for line in message.lines]


def _notify(service: Any, message: Message) -> bool:
    from apprise import NotifyFormat, NotifyType  # noqa: PLC0415

    kind = NotifyType.SUCCESS if message.is_good_news else NotifyType.FAILURE
    title = message.title
    if not message.lines:
        kind = NotifyType.INFO
    elif hasattr(service, "dedup"):  # PagerDuty: one incident a problem, resolved when it is over
        service.action, service.dedup, title = "map", message.lines[0].key, ""
    return bool(service.notify(_unlinked(message.text), title=title, notify_type=kind, body_format=NotifyFormat.TEXT))


class _Reasons(logging.Handler):
    """Reads the reason of a failure from what Apprise logs in this thread, without keeping its texts."""

    _PATTERNS = (
        (re.compile(r"\berror=(\d{3})\b"), "HTTP"),
        (re.compile(r"(?:Socket Exception|refused): .*?\b([45]\d\d)[, ]"), "SMTP"),
    )

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._thread = threading.get_ident()
        self._status: tuple[str, int] | None = None
        self._no_answer = False
        self._logger = logging.getLogger("apprise")

    def __enter__(self) -> "_Reasons":
        self._logger.propagate = False
        self._logger.setLevel(logging.DEBUG)
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Note the status in a record of this thread."""
        if record.thread != self._thread:
            return
        text = record.getMessage()
        self._no_answer |= "onnection error" in text
        for pattern, protocol in self._PATTERNS:
            if found := pattern.search(text):
                self._status = (protocol, int(found[1]))

    def failure(self) -> Failure:
        """Return what is known about the failure."""
        match self._status:
            case ("HTTP", status):
                return _http_failure(status)
            case ("SMTP", code):
                return Failure(f"SMTP {code}", _smtp_remedy(code))
        if self._no_answer:
            return Failure("no answer", _NO_ANSWER)
        return Failure("not delivered", "compare each part of the address with https://appriseit.com/services/")


def _http_failure(status: int, pause: float = 0.0) -> Failure:
    if status < 300:
        return Failure("the service did not take the message", _REMEDIES[404])
    if status < 400:
        return Failure(f"HTTP {status}: redirects are not followed", "set the final address")
    usual = "the service has a fault: try again later" if status >= 500 else _REMEDIES[400]
    return Failure(f"HTTP {status}", _REMEDIES.get(status, usual), pause)


def _smtp_remedy(code: int) -> str:
    """https://www.rfc-editor.org/rfc/rfc5321#section-4.2.3, and 53x: https://www.rfc-editor.org/rfc/rfc4954#section-6"""
    if 530 <= code <= 538:
        return "the mail server refuses the user name or password in the address"
    if code >= 550:
        return "the mail server refuses the sender or a recipient: compare both in the address (from=, to=)"
    return "the mail server takes no message for now: try again later"


def _escaped(text: str) -> str:
    """Escape text from a shop or TikTok, so that it cannot mention people or contain links.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _unlinked(text: str) -> str:
    """Part what services read as a mention ("@everyone", "<!channel>") by a space without width."""
    return text.replace("@", "@\u200b").replace("<", "<\u200b")
