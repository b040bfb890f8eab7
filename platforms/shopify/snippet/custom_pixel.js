// Shopify custom pixel. The server sends the same events from the shop's webhooks; TikTok merges copies with the same
// pixel code, name and event_id. Events: https://shopify.dev/docs/api/web-pixels-api/standard-events

const REMEMBERED = 28 * 24 * 60 * 60; // seconds a click id is kept, as long as TikTok counts a click

let privacy = init.customerPrivacy || {};
let loaded = false;
let opened = {}; // the checkout of this page
let address = ""; // of this page
const waiting = []; // events on this page before the shopper's consent
const refused = new Set(); // checkouts whose refusal was sent to the server
const STARTED = "tiktok_connector_checkouts"; // in localStorage: the last events of checkouts that were sent

const HANDLERS = {
  page_viewed: pageViewed,
  checkout_started: checkoutStarted,
  checkout_completed: checkoutCompleted,
};
for (const name of Object.keys(HANDLERS).concat(Object.keys(BROWSING))) {
  analytics.subscribe(name, handle);
}
if (typeof api !== "undefined" && api.customerPrivacy) {
  api.customerPrivacy.subscribe("visitorConsentCollected", function (event) {
    privacy = event.customerPrivacy || {};
    sendRefusal(opened, consentOf(opened)); // a yes that is taken back
    if (consentOf({}) === "denied") {
      if (settings.meter) {
        stopMeter();
      }
      forget();
    }
    waiting.splice(0).forEach(handle);
  });
}

async function handle(event) {
  const checkout = checkoutOf(event);
  address = event.context.document.location.href;
  opened = checkout.token ? checkout : opened;
  const consent = consentOf(checkout);
  if (!isAllowed(consent, checkout)) {
    waiting.push(event);
    sendRefusal(checkout, consent);
    return;
  }
  const browsing = await browsingOf(event, checkout);
  const visitor = await visitorOf(event, checkout, consent);
  // None waits for the others: an ad blocker stops TikTok's script, but not what goes to the server.
  await Promise.all([
    sendSignals(event, checkout, visitor),
    sendBrowsing(event, browsing, visitor),
    sendToTikTok(event, checkout, browsing),
  ]);
}

// --- consent --------------------------------------------------------------------------------------------------

// "granted", "denied", or "" if unknown. A refusal in Shopify's banner overrides the store's own key.
function consentOf(checkout) {
  if (privacy.marketingAllowed === false || privacy.saleOfDataAllowed === false) {
    return "denied";
  }
  const answer = settings.consent.key ? attributes(checkout)[settings.consent.key] : "";
  if (answer) {
    return settings.consent.granted.includes(answer.toLowerCase()) ? "granted" : "denied";
  }
  return privacy.marketingAllowed === true ? "granted" : "";
}

// By the server's rule: where consent is needed, no answer is a refusal.
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

function sendRefusal(checkout, consent) {
  const token = text(checkout.token);
  if (consent === "denied" && token && !refused.has(token)) {
    refused.add(token);
    postSignals({ checkout_token: token, consent: consent });
  }
}

async function sendSignals(event, checkout, visitor) {
  const token = text(checkout.token);
  if (!token || !settings.collect) {
    return;
  }
  refused.delete(token);
  const page = event.context.document;
  postSignals(present({
    checkout_token: token,
    ttclid: visitor.ttclid,
    ttp: visitor.ttp,
    url: page.location.href,
    referrer: page.referrer,
    user_agent: visitor.user_agent,
    consent: visitor.consent,
  }));
}

// What is known about the browser, and about the shopper as a hash.
async function visitorOf(event, checkout, consent) {
  const user = await userOf(checkout);
  return present({
    ttclid: await clickId(event, consent),
    ttp: await cookie("_ttp"),
    user_agent: event.context.navigator.userAgent,
    locale: event.context.navigator.language,
    external_id: user.external_id,
    consent: consent,
  });
}

function postSignals(signals) {
  if (settings.collect) {
    post(settings.collect, signals);
  }
}

// TikTok's click id from the landing page, kept in a first-party cookie until the checkout. A server on the shop's own site
// sets it by HTTP; this sandbox has no site, so the page around it asks for that.
async function clickId(event, consent) {
  const found = new URLSearchParams(event.context.document.location.search || "").get("ttclid");
  if (!found || (await cookie("ttclid")) === found) {
    return found || cookie("ttclid");
  }
  const age = "; max-age=" + REMEMBERED;
  await browser.cookie.set("ttclid=" + encodeURIComponent(found) + "; path=/; SameSite=Lax; Secure" + age).catch(function () {});
  if (settings.funnel && settings.funnel_urls.first_party) {
    const told = JSON.stringify(present({ events: [], ttclid: found, consent: consent }));
    await browser.sendBeacon(settings.funnel_urls.event, told).catch(function () {});
  }
  return found;
}

// A no keeps nothing of what this code has stored.
async function forget() {
  const host = address ? new URL(address).hostname : "";
  for (const removal of clickRemovals(host)) {
    await browser.cookie.set(removal).catch(function () {});
  }
  await browser.sessionStorage.removeItem(TOKEN).catch(function () {});
  await browser.localStorage.removeItem(STARTED).catch(function () {});
}

async function cookie(name) {
  try {
    return decodeURIComponent((await browser.cookie.get(name)) || "");
  } catch (error) {
    return "";
  }
}

// --- TikTok ---------------------------------------------------------------------------------------------------

async function sendToTikTok(event, checkout, browsing) {
  if (!loaded) {
    loaded = true;
    loadPixels();
  }
  if (settings.meter) {
    startMeter();
  }
  const codes = browsing ? browsingPixels(browsing.properties.currency) : audienceOf(event, checkout);
  identify(await userOf(checkout), codes);
  if (browsing) {
    track(browsing.names, browsing.properties, browsing.id, codes);
  } else if (HANDLERS[event.name]) {
    await HANDLERS[event.name](event, checkout);
  }
}

// The pixels that may know the shopper of this event: those that get it.
function audienceOf(event, checkout) {
  const milestones = { checkout_started: ["checkout_started"], checkout_completed: ["order_placed", "order_paid"] }[event.name];
  return milestones ? Object.keys(namesByPixel(milestones, factsOf(event, checkout))) : settings.pixels;
}

// What the conditions of pixels are about. A checkout without an address may be sent anywhere; and of an order in a currency
// that TikTok does not list, or that the store does not want, the server may send the shop's.
function factsOf(event, checkout) {
  const addresses = [checkout.shippingAddress, checkout.billingAddress];
  const currency = text((checkout.totalPrice || {}).currencyCode);
  return {
    kind: kindOf(event),
    country: addresses.map((one) => text((one || {}).countryCode).toUpperCase()).find(Boolean) || "",
    currency: settings.currencies.includes(currency) && isWanted(currency) ? currency : "",
  };
}

function trackMilestones(milestones, event, checkout, id) {
  const names = namesByPixel(milestones, factsOf(event, checkout));
  for (const code of Object.keys(names)) {
    track(names[code], propertiesOf(checkout), id, [code]);
  }
}

function pageViewed() {
  callPixel(function () {
    window.ttq.page();
  });
}

// Shopify tells of a checkout each time it is opened, also with another cart. The first time counts, here and at the
// server, which stores one event for an event_id.
async function checkoutStarted(event, checkout) {
  const id = fill(settings.ids.checkout, idsOf(checkout));
  if (!isExcluded(event, checkout) && (await isFirst(id))) {
    trackMilestones(["checkout_started"], event, checkout, id);
  }
}

async function isFirst(id) {
  try {
    const known = ((await browser.localStorage.getItem(STARTED)) || "").split("\n").filter(Boolean);
    if (known.includes(id)) {
      return false;
    }
    await browser.localStorage.setItem(STARTED, known.slice(-9).concat(id).join("\n"));
  } catch (error) {
    // Without storage, TikTok drops the copies of 48 hours by their event_id.
  }
  return true;
}

// The server decides by the order's financial status, which pixel events do not have; the payment method stands in for
// it. Orders that can be paid later, or never, are left to the server.
function checkoutCompleted(event, checkout) {
  const status = isPaid(checkout) ? "paid" : "pending";
  if (isExcluded(event, checkout) || !settings.placed.includes(status)) {
    return;
  }
  const paid = settings.paid.includes(status) || among(gateways(checkout), settings.paid_when_placed);
  const milestones = paid ? ["order_placed", "order_paid"] : ["order_placed"];
  trackMilestones(milestones, event, checkout, fill(settings.ids.order, idsOf(checkout)));
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

function isExcluded(event, checkout) {
  const domain = text(checkout.email).toLowerCase().split("@").pop();
  const excludedDomain = settings.exclude.email_domains.some(function (end) {
    return domain === end || domain.endsWith("." + end);
  });
  const free = settings.exclude.zero && amount(checkout.totalPrice) === 0;
  const kind = settings.include.includes(kindOf(event));
  return excludedDomain || free || !kind || isTest(checkout) || among(gateways(checkout), settings.exclude.gateways);
}

// The kinds that a browser can tell apart; the others pay at no checkout of a browser, or look like "web" here.
function kindOf(event) {
  if (/\/(checkouts\/do|invoices)\//.test(event.context.document.location.href)) {
    return "draft"; // an invoice for an order that staff made
  }
  return init.data && init.data.purchasingCompany ? "b2b" : "web";
}

// Shopify's gateway for tests. Of a test order by another gateway only the server knows.
function isTest(checkout) {
  return among(gateways(checkout), ["bogus"]);
}

// --- match keys -----------------------------------------------------------------------------------------------

// Hashed here by the server's rules: both copies have the same keys, and TikTok's script gets no plain personal data.
async function userOf(checkout) {
  const visitor = (init.data && init.data.customer) || {};
  const email = text(checkout.email || visitor.email).toLowerCase();
  // Only numbers that are E.164 already; any other form needs the server's library.
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
