// Reads a checkout in Shopify's pixel events, by the rules that the server applies to webhooks of checkouts and orders.

// --- ids ------------------------------------------------------------------------------------------------------

function checkoutOf(event) {
  return (event.data && event.data.checkout) || {};
}

function idsOf(checkout) {
  const order = checkout.order || {};
  const customer = order.customer || (init.data && init.data.customer) || {};
  const known = {
    order_id: digits(order.id),
    checkout_token: text(checkout.token),
    customer_id: digits(customer.id),
  };
  const given = attributes(checkout);
  for (const name of Object.keys(given)) {
    known["attribute:" + name] = given[name];
  }
  return known;
}

function attributes(checkout) {
  const values = {};
  for (const attribute of checkout.attributes || []) {
    values[attribute.key] = text(attribute.value);
  }
  return values;
}

// Webhooks have plain numbers; here an id is a number, its digits, or the end of "gid://shopify/OrderIdentity/123".
function digits(id) {
  if (typeof id === "number" && !Number.isSafeInteger(id)) {
    return "";
  }
  const found = /(\d+)\s*$/.exec(String(id === null || id === undefined ? "" : id));
  return found && Number(found[1]) ? found[1] : "";
}

// Fills a template; `pieces` alternates texts and names. "" if a name has no value.
function fill(pieces, known) {
  let filled = "";
  for (let at = 0; at < pieces.length; at += 1) {
    const piece = at % 2 ? known[pieces[at]] || "" : pieces[at];
    if (at % 2 && !piece) {
      return "";
    }
    filled += piece;
  }
  return filled;
}

// --- products and value ---------------------------------------------------------------------------------------

function propertiesOf(checkout) {
  const lines = checkout.lineItems || [];
  const currency = (checkout.totalPrice || {}).currencyCode;
  const order = checkout.order || {};
  return properties(lines.map(contentOf), currency, valueOf(checkout), digits(order.id));
}

function properties(items, currency, value, orderId) {
  const priced = settings.currencies.includes(currency) && isWanted(currency);
  const contents = items.filter(function (item) {
    return item.content_id;
  });
  const count = items.reduce(function (sum, item) {
    return sum + item.quantity;
  }, 0);
  if (!priced) {
    contents.forEach(function (item) {
      delete item.price;
    });
  }
  return present({
    contents: contents.length ? contents : null,
    content_type: contents.length ? settings.content_type : null,
    num_items: count || null,
    order_id: orderId,
    currency: priced ? currency : null,
    value: priced ? value : null,
  });
}

// Shopify's pixel events have only the shopper's currency. If the store wants its own and the two differ, only the
// server's copy has a value, and TikTok merges the two.
function isWanted(currency) {
  const shop = (init.data && init.data.shop) || {};
  return settings.currency === "presentment" || currency === (shop.paymentSettings || {}).currencyCode;
}

// A line of no product in the catalogue has no variant.
function contentOf(line) {
  const variant = line.variant || {};
  const price = amount(variant.price);
  const quantity = line.quantity || 1;
  const paid = paidFor(line);
  const asListed = paid === null || (price !== null && paid === rounded(price * quantity));
  const each = asListed ? price : perUnit(paid, quantity, line.finalLinePrice || variant.price);
  return content(variant, quantity, each, line.title);
}

// The price of a line after all discounts, by the server's rules. The variant's price is that of a single purchase; with
// a selling plan, only finalLinePrice has the plan's, after the discounts of the line but not of the order.
function paidFor(line) {
  const price = amount((line.variant || {}).price);
  const final = amount(line.finalLinePrice);
  const byFinal = final !== null && (price === null || Boolean(line.sellingPlanAllocation));
  const cuts = (line.discountAllocations || []).reduce(function (sum, cut) {
    return sum + (byFinal && !isOfOrder(cut) ? 0 : amount(cut.amount) || 0);
  }, 0);
  if (byFinal) {
    return rounded(final - cuts);
  }
  return price === null ? null : rounded(price * (line.quantity || 1) - cuts);
}

// https://shopify.dev/docs/api/web-pixels-api (DiscountApplication)
function isOfOrder(cut) {
  const application = cut.discountApplication || {};
  return application.allocationMethod === "ACROSS" && application.targetSelection === "ALL";
}

function perUnit(paid, quantity, price) {
  const format = new Intl.NumberFormat("en", { style: "currency", currency: price.currencyCode });
  const scale = Math.pow(10, format.resolvedOptions().maximumFractionDigits);
  return Math.round(rounded((paid * scale) / quantity)) / scale;
}

function content(variant, quantity, price, title) {
  const product = variant.product || {};
  const ids = { variant_id: digits(variant.id), product_id: digits(product.id), sku: text(variant.sku) };
  ids.item_id = ids.variant_id || ids.product_id;
  const chosen = settings.content_id.map(function (pieces) {
    return fill(pieces, ids);
  });
  return present({
    content_id: chosen.find(Boolean),
    content_name: text(title) || text(product.title),
    brand: text(product.vendor),
    quantity: quantity,
    price: price,
  });
}

// The store's choice of value, or null where the checkout does not contain it; then only the server's copy has it. It
// does not show which lines are gift cards, the tax in the prices of goods or shipping, nor tips, fees and duties, except
// that the sum is wrong.
function valueOf(checkout) {
  const total = amount(checkout.totalPrice);
  const tax = amount(checkout.totalTax) || 0;
  const without = settings.value.excludes;
  if (settings.value.of === "items") {
    const paid = (checkout.lineItems || []).map(paidFor);
    const known = !paid.includes(null) && !without.includes("gift_cards") && !(without.includes("tax") && tax);
    return known ? rounded(paid.reduce((sum, one) => sum + one, 0)) : null;
  }
  if (!without.length || total === null) {
    return total;
  }
  if (without.includes("gift_cards")) {
    return null;
  }
  const rest = rounded(total - (without.includes("tax") ? tax : 0));
  if (without.every((word) => word === "tax")) {
    return rest;
  }
  const goods = amount(checkout.subtotalPrice);
  const shipping = amount((checkout.shippingLine || {}).price) || 0;
  const onTop = goods !== null && rounded(goods + shipping + tax) === total;
  const within = goods !== null && rounded(goods + shipping) === total;
  if (!onTop && !within) {
    return null;
  }
  if (!without.includes("shipping")) {
    return rest;
  }
  // The tax on shipping is known if all tax is left out anyway, is part of the price, or is zero.
  const known = !tax || (onTop ? without.includes("tax") : !without.includes("tax"));
  return known ? rounded(rest - shipping) : null;
}

// --- parts ----------------------------------------------------------------------------------------------------

function amount(money) {
  const found = money && typeof money === "object" ? money.amount : money;
  const number = typeof found === "string" && found.trim() ? Number(found) : found;
  return typeof number === "number" && isFinite(number) ? number : null;
}

function rounded(value) {
  return Math.round(value * 1e6) / 1e6;
}

function among(names, chosen) {
  return names.some(function (name) {
    return chosen.includes(text(name).toLowerCase());
  });
}

function text(value) {
  return typeof value === "string" ? value.trim() : "";
}

function present(fields) {
  const found = {};
  for (const name of Object.keys(fields)) {
    if (fields[name] || fields[name] === 0) {
      found[name] = fields[name];
    }
  }
  return found;
}
