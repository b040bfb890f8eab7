"""Sends an event to the connector, signed by the Standard Webhooks. Python 3.9 or newer, without packages."""

import base64
import hashlib
import hmac
import json
import secrets
import time
import urllib.error
import urllib.request


def send_event(url: str, secret: str, event: dict, attempts: int = 5) -> str:
    """Post the event to https://CONNECTOR/webhooks/STORE and return the answer. Call it in a job, not in the shopper's
    request: it repeats what could not be delivered. Raises RuntimeError if it is refused, or after the last attempt."""
    body = json.dumps(event).encode()
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    message = "msg_" + secrets.token_hex(12)
    for attempt in range(attempts):
        now = str(int(time.time()))
        digest = hmac.new(key, f"{message}.{now}.".encode() + body, hashlib.sha256).digest()
        headers = {"content-type": "application/json", "webhook-id": message, "webhook-timestamp": now}
        headers["webhook-signature"] = "v1," + base64.b64encode(digest).decode()
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            why = f"{error.code} {error.read().decode()}"
            if error.code < 500:
                break
        except OSError as error:
            why = str(error)
        if attempt + 1 < attempts:
            time.sleep(4**attempt)
    raise RuntimeError(f"the event was not delivered: {why}")
