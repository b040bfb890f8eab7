"""The checkout object of Shopify's pixel events, as it is for the order or checkout of a webhook."""

import phonenumbers

CARD = {"gateway": "shopify_payments", "paymentMethod": {"name": "Visa", "type": "creditCard"}}


def _money(row, name, currency):
    shown = (row.get(f"{name}_set") or {}).get("presentment_money")
    text = shown["amount"] if shown else row[name]
    return {"amount": float(text), "currencyCode": currency}


def _e164(phone, country):
    """What Shopify documents of this field, whatever the shopper typed."""
    return phonenumbers.format_number(phonenumbers.parse(phone, country), phonenumbers.PhoneNumberFormat.E164)


def _address(found):
    return {
        "firstName": found["first_name"],
        "lastName": found["last_name"],
        "city": found["city"],
        "countryCode": found["country_code"],
        "provinceCode": found["province_code"],
        "zip": found["zip"],
        "phone": found["phone"],
    }


OF_ORDER = {"allocationMethod": "ACROSS", "targetSelection": "ALL", "targetType": "LINE_ITEM"}
OF_LINE = {"allocationMethod": "EACH", "targetSelection": "ENTITLED", "targetType": "LINE_ITEM"}


def _line(row, currency, plan=None):
    """`plan`: the variant's price without the selling plan by which it was bought; an order has only the plan's."""
    cuts = [
        {"amount": _money(cut, "amount", currency), "discountApplication": cut.get("application", OF_LINE)}
        for cut in row["discount_allocations"]
    ]
    price = _money(row, "price", currency)
    of_line = sum(cut["amount"]["amount"] for cut in cuts if cut["discountApplication"] != OF_ORDER)
    paid = price["amount"] * row["quantity"] - of_line
    if plan:
        price = {**price, "amount": plan}
    product = {"id": str(row["product_id"]), "title": row["title"], "vendor": row["vendor"], "type": "", "url": "/x"}
    variant = {"id": str(row["variant_id"]), "sku": row["sku"], "title": row["variant_title"], "price": price}
    return {
        "id": str(row["variant_id"]),
        "title": row["title"],
        "quantity": row["quantity"],
        "discountAllocations": cuts,
        "finalLinePrice": {"amount": paid, "currencyCode": currency},
        "sellingPlanAllocation": {"sellingPlan": {"id": "1", "name": "Monthly"}} if plan else None,
        "variant": {**variant, "product": product} if row["variant_id"] else None,
    }


def checkout(body, order_id=None, transactions=(CARD,), plan=None, **changes):
    """`order_id` is the order's id in the form this browser gives it; None before there is an order.

    `plan` is the single-purchase price of the first line's variant, if it was bought by a selling plan.
    """
    currency = body["presentment_currency"] or body["currency"]
    person = body.get("customer")
    customer = {"id": str(person["id"]), "isFirstOrder": True} if person else None
    found = {
        "token": body.get("checkout_token") or body.get("token"),
        "attributes": [{"key": row["name"], "value": row["value"]} for row in body["note_attributes"]],
        "currencyCode": currency,
        "email": body["email"],
        "phone": _e164(body["phone"], body["billing_address"]["country_code"]),
        "billingAddress": _address(body["billing_address"]),
        "shippingAddress": _address(body["shipping_address"]),
        "lineItems": [_line(row, currency, None if at else plan) for at, row in enumerate(body["line_items"])],
        "subtotalPrice": _money(body, "subtotal_price", currency),
        "shippingLine": {"price": _money(body["shipping_lines"][0], "price", currency)},
        "totalTax": _money(body, "total_tax", currency),
        "totalPrice": _money(body, "total_price", currency),
        "order": {"id": order_id, "customer": customer} if order_id is not None else None,
        "transactions": list(transactions) if order_id is not None else [],
    }
    return {**found, **changes}
