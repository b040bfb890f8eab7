"""Addresses in WooCommerce's bodies."""

import re

from connector.plugin import Address, json_object, text

# WooCommerce's codes of states (its i18n/states.php) begin with the country's, in most countries with a hyphen between;
# in these without one. China's are numbers of WooCommerce's own.
_CODE_WITHOUT_HYPHEN = re.compile(r"(?:EG|JP|KE|KN|MZ|RS|SN|TR|TZ|UA|UG)([A-Z]{1,3}|[0-9]{1,3})")
_CHINESE_CODE = re.compile(r"^CN[0-9]{1,2}$")


def read_address(value: object) -> Address:
    """Return the address in a body's `billing` or `shipping`."""
    fields = json_object(value)
    return Address(
        first_name=text(fields.get("first_name")),
        last_name=text(fields.get("last_name")),
        city=text(fields.get("city")),
        state=_state(text(fields.get("state")), text(fields.get("country"))),
        postcode=text(fields.get("postcode")),
        country=text(fields.get("country")),
        phone=text(fields.get("phone")),
    )


def _state(written: str, country: str) -> str:
    """Return a state without its country's code; `connector.mapping` does so where a hyphen follows the country."""
    if not country or not written.startswith(country):
        return written
    found = _CODE_WITHOUT_HYPHEN.fullmatch(written)
    return found[1] if found else _CHINESE_CODE.sub("", written)
