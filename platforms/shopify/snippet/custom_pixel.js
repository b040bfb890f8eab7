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
