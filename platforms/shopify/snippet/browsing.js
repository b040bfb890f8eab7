// What happens before the order, in Shopify's pixel events. https://shopify.dev/docs/api/web-pixels-api/standard-events

// Their names here, and what is said of them. Without [funnel] in the store, the browser alone sends the first two.
const BROWSING = {
  product_viewed: { milestone: "product_viewed", properties: viewed },
  product_added_to_cart: { milestone: "cart_added", properties: added },
  payment_info_submitted: { milestone: "payment_info_added", properties: paying },
  search_submitted: { milestone: "searched", properties: searched },
};
const ALONE = { product_viewed: ["ViewContent"], cart_added: ["AddToCart"] };

// What to send about an event, under an id of its own; null if it is nothing of this kind, or switched off. A checkout counts
// once, however often its payment is tried.
async function browsingOf(event, checkout) {
  const kind = BROWSING[event.name];
  const names = kind ? (settings.funnel || ALONE)[kind.milestone] || [] : [];
  if (!names.length) {
    return null;
  }
  const token = text(checkout.token);
  if (token && (isExcluded(event, checkout) || !(await isFirst(kind.milestone + " " + token)))) {
    return null;
  }
  const known = kind.properties(event);
  return known && { milestone: kind.milestone, names: names, id: newEventId(), properties: known };
}

function viewed(event) {
  return ofProduct(event.data.productVariant, 1);
}

function added(event) {
  const line = event.data.cartLine || {};
  return ofProduct(line.merchandise, line.quantity || 1);
}

function paying(event) {
  return propertiesOf(checkoutOf(event));
}

// An e-mail address that somebody searched for is nobody else's business.
function searched(event) {
  const query = text((event.data.searchResult || {}).query);
  return /^[^@]{1,200}$/u.test(query) ? { search_string: query } : null;
}

function ofProduct(variant, quantity) {
  const price = (variant || {}).price || {};
  const value = amount(price) === null ? null : rounded(amount(price) * quantity);
  return properties([content(variant || {}, quantity, amount(price))], price.currencyCode, value, "");
}

// The server's copy, which no ad blocker stops that knows TikTok only.
async function sendBrowsing(event, found, visitor) {
  if (found && settings.funnel) {
    const page = event.context.document;
    const told = {
      milestone: found.milestone,
      event_id: found.id,
      time: Math.floor(Date.now() / 1000),
      url: page.location.href,
      referrer: page.referrer,
      properties: found.properties,
    };
    await sendEvents([told], visitor);
  }
}

// --- where the token is kept and asked for --------------------------------------------------------------------

function readSession(name) {
  return browser.sessionStorage.getItem(name);
}

function writeSession(name, value) {
  return browser.sessionStorage.setItem(name, value);
}

async function askForToken() {
  const answer = await window.fetch(settings.funnel_urls.token, { credentials: "omit", cache: "no-store" });
  return answer.ok ? answer.json() : null;
}
