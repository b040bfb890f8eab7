// Events before the order. The plugin's PHP tells the server of what it sees, and leaves the browser's copy to this script;
// what PHP does not see, such as a product's page from a cache, this script tells both. Runs once the visitor's consent
// allows it.

const VISIT = "tiktok_connector_visit"; // cookie: a random name of this browser's visit
const NOTES = "tiktok_connector_notes"; // cookie: events that PHP has told the server of
const SEEN = "tiktok_connector_seen"; // in the browser's storage: event_ids of the last pages that PHP told the server of
const LEAVING = 500; // ms in which a page that is being left is gone
let browsed = false;

function browse() {
  if (!cookie(VISIT)) {
    setCookie(VISIT, newEventId(), "");
  }
  takeNotes();
  if (browsed) {
    return;
  }
  browsed = true;
  listen();
  if (settings.page && settings.funnel[settings.page.milestone]) {
    view(settings.page);
  }
}

// PHP's event_id stands in a page that a cache may give to other browsers, or to this one again. Nor does such a page know who
// looks at it: the shop's answer for a token does, which has none for staff. Consent may be withdrawn meanwhile.
async function view(page) {
  const told = page.id && cookie(VISIT).startsWith(page.visit) && isFirst(page.id);
  const id = told ? page.id : newEventId();
  if (!told && ((await permitOf(false)).token === "" || denied)) {
    return;
  }
  tellPixel(page.milestone, page.properties, id);
  if (!told) {
    tellServer(page, id);
  }
}

function isFirst(id) {
  try {
    const seen = (window.localStorage.getItem(SEEN) || "").split("\n");
    window.localStorage.setItem(SEEN, seen.slice(-19).concat(id).join("\n"));
    return !seen.includes(id);
  } catch (error) {
    return true;
  }
}

function tellPixel(milestone, properties, id) {
  if (settings.pixels.length) {
    identify({});
    track(settings.funnel[milestone] || [], properties, id);
  }
}

async function tellServer(page, id) {
  const visitor = {
    ttclid: click || cookie("ttclid") || cookie("tiktok_ttclid"), // the last one is the official plugin's
    ttp: cookie("_ttp"),
    user_agent: window.navigator.userAgent,
    locale: document.documentElement.lang,
    external_id: (await permitOf(false)).external_id,
    consent: hasAnswer() ? "granted" : undefined,
  };
  const told = {
    milestone: page.milestone,
    event_id: id,
    time: Math.floor(Date.now() / 1000),
    url: window.location.href,
    referrer: document.referrer,
    properties: page.properties,
  };
  await sendEvents([told], visitor);
}

// A product was put into the cart, or a payment submitted: by this page or by the one before.
function takeNotes() {
  let notes = [];
  try {
    notes = JSON.parse(cookie(NOTES) || "[]");
  } catch (error) {
    // not PHP's
  }
  if (cookie(NOTES)) {
    setCookie(NOTES, "", "; max-age=0");
  }
  for (const note of Array.isArray(notes) ? notes.filter(Boolean) : []) {
    tellPixel(note.milestone, note.properties, note.id);
  }
}

// Classic themes, blocks, and any other code that puts something into the cart without loading a page. Of a cookie a page hears,
// too, that is just being left for the next one, which shall tell.
function listen() {
  if (window.jQuery) {
    window.jQuery(document.body).on("added_to_cart", takeNotes);
  }
  document.body.addEventListener("wc-blocks_added_to_cart", takeNotes);
  window.addEventListener("pageshow", takeNotes);
  if (window.cookieStore && window.cookieStore.addEventListener) {
    window.cookieStore.addEventListener("change", function () {
      window.setTimeout(takeNotes, LEAVING);
    });
  }
}

// A no keeps nothing of what this script has stored.
function forgetVisit() {
  [VISIT, NOTES].forEach(function (name) {
    setCookie(name, "", "; max-age=0");
  });
  clickRemovals(window.location.hostname).forEach(function (removal) {
    document.cookie = removal;
  });
  try {
    window.sessionStorage.removeItem(TOKEN);
    window.localStorage.removeItem(SEEN);
  } catch (error) {
    // nothing was stored
  }
}

// --- where the token is asked for -----------------------------------------------------------------------------

async function askForToken() {
  const answer = await window.fetch(settings.funnel_urls.token, { method: "POST" });
  return answer.ok ? answer.json() : null;
}
