"""E-mail addresses and phone numbers as SHOPLINE writes them.

A customer's number begins with 00 and the country's code ("008613987675435"), that of an order has neither; its code is
in a field beside it. The documents' examples of customers have some of the characters masked ("0086139****1234"):
nobody can be matched by such a value, so it is left out.
https://developer.shopline.com/docs/webhook/customers/customer-add
"""

from connector.plugin import phone_number, text

MASK = "*"


def email(value: object) -> str:
    """Return an e-mail address, or "" if it is missing or masked."""
    found = text(value)
    return "" if MASK in found else found


def phone(value: object, code: object = "") -> str:
    """Return a phone number, with + if its country's code is known; "" if it is missing or masked."""
    found = phone_number(code, value)
    if MASK in found:
        return ""
    return f"+{found[2:]}" if found.startswith("00") else found
