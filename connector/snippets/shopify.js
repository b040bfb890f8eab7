// Shopify custom pixel. The server makes the same events of the shop's webhooks; TikTok merges copies whose pixel code,
// name and event_id are equal. Events: https://shopify.dev/docs/api/web-pixels-api/standard-events

const REMEMBERED = 30 * 24 * 60 * 60; // seconds a click id is kept

let privacy = init.customerPrivacy || {};
let loaded = false;
const waiting = []; // what happened on this page before the shopper agreed
const refused = new Set(); // checkouts of which the server knows the refusal

const HANDLERS = {
  page_viewed: pageViewed,
  product_viewed: productViewed,
  product_added_to_cart: productAdded,
  checkout_started: checkoutStarted,
  checkout_completed: checkoutCompleted,
};
for (const name of Object.keys(HANDLERS)) {
  analytics.subscribe(name, happened);
}
if (typeof api !== "undefined" && api.customerPrivacy) {
  api.customerPrivacy.subscribe("visitorConsentCollected", function (event) {
    privacy = event.customerPrivacy || {};
    waiting.splice(0).forEach(happened);
  });
}

async function happened(event) {
  const checkout = checkoutOf(event);
  const consent = consentOf(checkout);
  if (!isAllowed(consent, checkout)) {
    waiting.push(event);
    tellRefusal(checkout, consent);
    return;
  }
  const click = await clickId(event);
  // The one must not wait for the other: an ad blocker stops TikTok's script, never what the server is told.
  await Promise.all([tellServer(event, checkout, consent, click), tellTikTok(event, checkout)]);
}

// --- consent --------------------------------------------------------------------------------------------------

// "granted", "denied", or "" if nothing is known. Shopify's no is a no whatever the store's own key says.
function consentOf(checkout) {
  if (privacy.marketingAllowed === false || privacy.saleOfDataAllowed === false) {
    return "denied";
  }
  const said = settings.consent.key ? attributes(checkout)[settings.consent.key] : "";
  if (said) {
    return settings.consent.granted.includes(said.toLowerCase()) ? "granted" : "denied";
  }
  return privacy.marketingAllowed === true ? "granted" : "";
}

// As the server decides it: where a yes is needed, an absent one is a no.
function isAllowed(consent, checkout) {
  if (consent) {
    return consent === "granted";
  }
  const shipping = checkout.shippingAddress || {};
  const billing = checkout.billingAddress || {};
  const country = (shipping.countryCode || billing.countryCode || settings.country).toUpperCase();
  const abroad = country !== "" && !settings.consent.europe.includes(country);
  return settings.consent.needed === "nowhere" || (settings.consent.needed === "europe" && abroad);
}

// --- signals --------------------------------------------------------------------------------------------------

function tellRefusal(checkout, consent) {
  const token = text(checkout.token);
  if (consent === "denied" && token && !refused.has(token)) {
    refused.add(token);
    post({ checkout_token: token, consent: consent });
  }
}

async function tellServer(event, checkout, consent, click) {
  const token = text(checkout.token);
  if (!token || !settings.collect) {
    return;
  }
  const page = event.context.document;
  post(present({
    checkout_token: token,
    ttclid: click,
    ttp: await cookie("_ttp"),
    url: page.location.href,
    referrer: page.referrer,
    user_agent: event.context.navigator.userAgent,
    consent: consent,
  }));
}

// A simple request, so that no preflight comes before it: this sandbox has no origin of its own ("null").
function post(signals) {
  if (settings.collect) {
    fetch(settings.collect, {
      method: "POST",
      mode: "no-cors",
      keepalive: true,
      credentials: "omit",
      headers: { "Content-Type": "text/plain;charset=UTF-8" },
      body: JSON.stringify(signals),
    }).catch(function () {});
  }
}

// TikTok's click id from the landing page, kept in a first-party cookie until the checkout.
async function clickId(event) {
  const found = new URLSearchParams(event.context.document.location.search || "").get("ttclid");
  if (!found) {
    return cookie("ttclid");
  }
  const kept = "ttclid=" + encodeURIComponent(found) + "; path=/; max-age=" + REMEMBERED + "; SameSite=Lax; Secure";
  await browser.cookie.set(kept).catch(function () {});
  return found;
}

async function cookie(name) {
  try {
    return decodeURIComponent((await browser.cookie.get(name)) || "");
  } catch (error) {
    return "";
  }
}

// --- TikTok ---------------------------------------------------------------------------------------------------

async function tellTikTok(event, checkout) {
  if (!loaded) {
    loaded = true;
    loadPixels();
  }
  const user = await userOf(checkout);
  if (Object.keys(user).length) {
    window.ttq.identify(user);
  }
  HANDLERS[event.name](event, checkout);
}

function pageViewed() {
  window.ttq.page();
}

function productViewed(event) {
  browsed("ViewContent", event.data.productVariant, 1);
}

function productAdded(event) {
  const line = event.data.cartLine || {};
  browsed("AddToCart", line.merchandise, line.quantity || 1);
}

function checkoutStarted(event, checkout) {
  if (!isExcluded(checkout)) {
    track(settings.events.checkout_started, propertiesOf(checkout), fill(settings.ids.checkout, idsOf(checkout)));
  }
}

// The server decides by the order's financial status, which is not told here; how it was paid tells most of it. What may
// be paid later, or never, is left to the server.
function checkoutCompleted(event, checkout) {
  const status = isPaid(checkout) ? "paid" : "pending";
  if (isExcluded(checkout) || !settings.placed.includes(status)) {
    return;
  }
  const paid = settings.paid.includes(status) || among(gateways(checkout), settings.paid_when_placed);
  const names = settings.events.order_placed.concat(paid ? settings.events.order_paid : []);
  track(names, propertiesOf(checkout), fill(settings.ids.order, idsOf(checkout)));
}

function isPaid(checkout) {
  const payments = checkout.transactions || [];
  if (!payments.length) {
    return amount(checkout.totalPrice) === 0;
  }
  return payments.every(function (payment) {
    return settings.paid_at_once.includes((payment.paymentMethod || {}).type);
  });
}

function gateways(checkout) {
  const names = [];
  for (const payment of checkout.transactions || []) {
    names.push(payment.gateway, (payment.paymentMethod || {}).name);
  }
  return names;
}

function isExcluded(checkout) {
  const domain = text(checkout.email).toLowerCase().split("@").pop();
  const atOne = settings.exclude.email_domains.some(function (end) {
    return domain === end || domain.endsWith("." + end);
  });
  const free = settings.exclude.zero && amount(checkout.totalPrice) === 0;
  return atOne || free || among(gateways(checkout), settings.exclude.gateways);
}

// --- who ------------------------------------------------------------------------------------------------------

// Hashed here, by the server's rules, so that both copies say the same and TikTok's script never sees a plain address.
async function userOf(checkout) {
  const visitor = (init.data && init.data.customer) || {};
  const email = text(checkout.email || visitor.email).toLowerCase();
  // Only numbers that are E.164 as they are: what is typed in otherwise needs the server's library to be read.
  const phones = [checkout.phone, visitor.phone].map(text).filter(function (phone) {
    return /^\+[1-9]\d{6,14}$/.test(phone);
  });
  return present({
    email: await sha256(/^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(email) ? email : ""),
    phone_number: await sha256(phones[0] || ""),
    external_id: await sha256(fill(settings.ids.external, idsOf(checkout)).trim()),
  });
}

async function sha256(value) {
  if (!value || /^[0-9a-f]{64}$/i.test(value)) {
    return value.toLowerCase();
  }
  if (!window.crypto || !window.crypto.subtle) {
    return "";
  }
  const digest = await window.crypto.subtle.digest("SHA-256", new TextEncoder().encode(value));
  return Array.from(new Uint8Array(digest), function (byte) {
    return byte.toString(16).padStart(2, "0");
  }).join("");
}

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
  const told = attributes(checkout);
  for (const name of Object.keys(told)) {
    known["attribute:" + name] = told[name];
  }
  return known;
}

function attributes(checkout) {
  const told = {};
  for (const attribute of checkout.attributes || []) {
    told[attribute.key] = text(attribute.value);
  }
  return told;
}

// Webhooks have plain numbers; here an id is a number, its digits, or the end of "gid://shopify/OrderIdentity/123".
function digits(id) {
  if (typeof id === "number" && !Number.isSafeInteger(id)) {
    return "";
  }
  const found = /(\d+)\s*$/.exec(String(id === null || id === undefined ? "" : id));
  return found && Number(found[1]) ? found[1] : "";
}

// A template's texts and names by turns; "" if one of the names has no value here.
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

// --- what, and for how much -----------------------------------------------------------------------------------

function propertiesOf(checkout) {
  const lines = checkout.lineItems || [];
  const currency = (checkout.totalPrice || {}).currencyCode;
  const order = checkout.order || {};
  return properties(lines.map(contentOf), currency, valueOf(checkout), digits(order.id));
}

function browsed(name, variant, quantity) {
  const price = (variant || {}).price || {};
  const item = content(variant || {}, quantity, amount(price));
  const value = amount(price) === null ? null : rounded(amount(price) * quantity);
  for (const code of settings.pixels) {
    window.ttq.instance(code).track(name, properties([item], price.currencyCode, value, ""));
  }
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

// Only the shopper's currency is told here. Where the store wants its own and the two differ, the server's copy has the
// value alone, and TikTok adds it to ours.
function isWanted(currency) {
  const shop = (init.data && init.data.shop) || {};
  return settings.currency === "presentment" || currency === (shop.paymentSettings || {}).currencyCode;
}

function contentOf(line) {
  const price = amount((line.variant || {}).price);
  const quantity = line.quantity || 1;
  const paid = paidFor(line);
  const each = paid === null || paid === rounded(price * quantity) ? price : perUnit(paid, quantity, line.variant.price);
  return content(line.variant || {}, quantity, each, line.title);
}

// What a line cost after all discounts, as the server counts it.
function paidFor(line) {
  const price = amount((line.variant || {}).price);
  if (price === null) {
    return amount(line.finalLinePrice);
  }
  const cuts = (line.discountAllocations || []).reduce(function (sum, cut) {
    return sum + (amount(cut.amount) || 0);
  }, 0);
  return rounded(price * (line.quantity || 1) - cuts);
}

function perUnit(paid, quantity, price) {
  const format = new Intl.NumberFormat("en", { style: "currency", currency: price.currencyCode });
  const scale = Math.pow(10, format.resolvedOptions().maximumFractionDigits);
  return Math.round(rounded((paid * scale) / quantity)) / scale;
}

function content(variant, quantity, price, title) {
  const product = variant.product || {};
  const ids = { variant_id: digits(variant.id), product_id: digits(product.id), sku: text(variant.sku) };
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

// The store's choice of value, or null where this object does not tell it: the server's copy has it then. It cannot tell
// which lines are gift cards, what tax is in the prices of goods or comes with a shipping price, nor tips, fees and duties
// other than by a sum that does not add up.
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
  // The tax on shipping is known where all tax comes off anyway, is part of the price, or is nothing.
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
