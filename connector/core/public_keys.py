"""Public keys of shops that sign webhooks with a private one: detached JWS with RS256, and the keys of each store.

Intake uses no network. The relay's process fetches the keys into the database (`connector/sync/public_keys.py`), and
the web processes read them from there (`connector/intake/key_reader.py`). A webhook that names an unknown key is
answered 503 and the keys are fetched: a shop that has just changed its key repeats the webhook meanwhile.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from connector.core.webhook import InvalidSignature, Request, UnknownKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

    from connector.core.store import Store

MAX_HEADER = 8192  # characters of a signature header; one of a key of 4,096 bits has 900
MIN_BITS = 2048  # of a key; shorter ones can be broken


class KeyRing:
    """A store's public keys by id: those written in its settings, and those fetched.

    `wanted` is True after an unknown one was named. One object per store and process. Fetched keys are replaced as a
    whole, from another thread.
    """

    def __init__(self, written: Iterable[str] = ()) -> None:
        self._written = tuple(written)
        self._keys: dict[str, RSAPublicKey] | None = None if self._written else {}
        self.wanted = False

    def __len__(self) -> int:
        return len(self._known())

    def find(self, key_id: str) -> "RSAPublicKey":
        """Return the key of this id. Raises UnknownKey, and notes that the keys should be fetched."""
        found = self._known().get(key_id)
        if found is None:
            self.wanted = True
            raise UnknownKey("the public key that signed this is not known yet; the keys are fetched, try again")
        return found

    def replace(self, fetched: Iterable[str]) -> None:
        """Take the key sets that were fetched, beside those written in the settings. Raises ValueError."""
        self._keys = _all_keys((*self._written, *fetched))

    def _known(self) -> "dict[str, RSAPublicKey]":
        if self._keys is None:
            self._keys = _all_keys(self._written)
        return self._keys


def _all_keys(sets: Iterable[str]) -> "dict[str, RSAPublicKey]":
    return {key_id: key for one in sets for key_id, key in read_keys(one).items()}


def read_keys(text: str) -> "dict[str, RSAPublicKey]":
    """Return the RSA keys of a JWKS (RFC 7517) or of a PEM, by id. Keys of other kinds are left out. Raises ValueError.

    The id of a key without one is its thumbprint (RFC 7638).
    """
    if text.lstrip().startswith("-----BEGIN"):
        key = _read_pem(text)
        return {thumbprint(key): key}
    try:
        rows = msgspec.json.decode(text)["keys"]
        found = {}
        for row in rows:
            if row.get("kty") == "RSA" and row.get("use", "sig") == "sig" and row.get("alg", "RS256") == "RS256":
                key = _read_numbers(row)
                found[str(row.get("kid") or thumbprint(key))] = key
    except (msgspec.DecodeError, RecursionError, KeyError, TypeError, AttributeError, binascii.Error, UnicodeError):
        raise ValueError('is not a JWKS, {"keys": […]} (RFC 7517), nor a public key in PEM') from None
    if not found:
        raise ValueError("has no RSA key for signatures")
    return found


def _read_pem(text: str) -> "RSAPublicKey":
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415 (few stores use keys)
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        key = load_pem_public_key(text.strip().encode())
    except Exception:  # cryptography raises several, whose messages say nothing to a merchant
        raise ValueError("is not a public key in PEM") from None
    if not isinstance(key, RSAPublicKey):
        raise ValueError("is not an RSA key, which RS256 needs")
    return _long_enough(key)


def _read_numbers(row: dict[str, Any]) -> "RSAPublicKey":
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers  # noqa: PLC0415

    exponent, modulus = (int.from_bytes(_from_base64url(row[name]), "big") for name in ("e", "n"))
    return _long_enough(RSAPublicNumbers(exponent, modulus).public_key())


def _long_enough(key: "RSAPublicKey") -> "RSAPublicKey":
    if key.key_size < MIN_BITS:
        raise ValueError(f"has a key of {key.key_size} bits; fewer than {MIN_BITS} can be broken")
    return key


def thumbprint(key: "RSAPublicKey") -> str:
    """Return the id of a key by RFC 7638."""
    numbers = key.public_numbers()
    row = {"e": _number_as_text(numbers.e), "kty": "RSA", "n": _number_as_text(numbers.n)}
    return _base64url(hashlib.sha256(msgspec.json.encode(row)).digest())


def as_jwks(key: "RSAPublicKey") -> str:
    """Return the JWKS by which a shop publishes this key."""
    numbers = key.public_numbers()
    row = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": thumbprint(key)}
    row |= {"n": _number_as_text(numbers.n), "e": _number_as_text(numbers.e)}
    return msgspec.json.encode({"keys": [row]}).decode()


# --- the signature ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DetachedJws:
    """RS256 over the raw body, as a JWS "header..signature" whose payload is not encoded (RFC 7515 F, RFC 7797)."""

    header: str

    def verify(self, request: Request, store: "Store") -> None:
        """Return if one of the shop's private keys signed the body. Raises InvalidSignature, UnknownKey."""
        given = request.headers.get(self.header.lower(), "").strip()
        if not given:
            raise InvalidSignature("the signature header is missing, so no shop sent this", "missing")
        protected, payload, signature = [*given.split("."), "", ""][:3]
        if given.count(".") != 2 or payload or len(given) > MAX_HEADER:
            raise InvalidSignature("the signature is not a detached JWS, HEADER..SIGNATURE")
        key = store.keys.find(_key_id(protected))
        if not _is_signature(key, _decoded(signature), protected.encode("ascii") + b"." + request.body):
            raise InvalidSignature("the signature does not fit the body and the shop's public key")

    def sign(self, request: Request, secret: str) -> dict[str, str]:
        """Return the header; `secret` is a private RSA key in PEM. Raises ValueError for another."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

        key = _private_key(secret)
        fields = {"alg": "RS256", "b64": False, "crit": ["b64"], "kid": thumbprint(key.public_key()), "typ": "JWT"}
        protected = _base64url(msgspec.json.encode(fields))
        made = key.sign(protected.encode() + b"." + request.body, PKCS1v15(), SHA256())
        return {self.header: f"{protected}..{_base64url(made)}"}


def _key_id(protected: str) -> str:
    """Return the id of the key in a JWS header. Raises InvalidSignature unless the header is that of this scheme.

    The algorithm is never the sender's choice: a header that names another is refused.
    """
    try:
        fields = msgspec.json.decode(_decoded(protected))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise InvalidSignature("the header of the JWS is not a JSON object")
    if fields.get("alg") != "RS256" or fields.get("b64") is not False or fields.get("crit") != ["b64"]:
        raise InvalidSignature("the JWS is not RS256 over the plain body (alg RS256, b64 false, crit b64)")
    key_id = fields.get("kid")
    if not isinstance(key_id, str):
        raise InvalidSignature("the JWS does not name its key (kid)")
    return key_id


def _is_signature(key: "RSAPublicKey", signature: bytes, signed: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature as Mismatch  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    try:
        key.verify(signature, signed, PKCS1v15(), SHA256())
    except Mismatch:
        return False
    return True


@lru_cache(8)  # to read and check a key takes 40 ms; only samples are signed here
def _private_key(pem: str) -> "RSAPrivateKey":
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    key = load_pem_private_key(pem.encode(), None)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("is not an RSA key")
    return key


# --- base64url (RFC 7515, 2) --------------------------------------------------------------------------------------


def _decoded(text: str) -> bytes:
    """Return the bytes of a part of a JWS. Raises InvalidSignature, also for text that encodes them in another way."""
    try:
        found = _from_base64url(text)
    except (binascii.Error, ValueError):
        raise InvalidSignature("the JWS is not base64url") from None
    if _base64url(found) != text:
        raise InvalidSignature("the JWS is not base64url")
    return found


def _from_base64url(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _number_as_text(number: int) -> str:
    return _base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))
