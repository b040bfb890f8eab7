// For a page that already runs TikTok's pixel. Paste this once, then give each event the event_id of the server's copy, as
// the third argument of ttq.track:
//
//   ttq.track(NAME, PROPERTIES, { event_id: connectorEventId("order", { order_id: "1001" }) });
//
// If it returns "", a value in the template is missing: do not send that event from the browser; the server sends it.
// Values are the shop's ids as plain digits, without "gid://…/" before them.
//
// Or leave your pixel as it is, and set the form of its ids in the stores file, so that the server's ids are the same:
//
//   [stores.NAME.event_id]
//   order = "order-{order_id}"          # if your pixel sends order-1001
//   checkout = "{checkout_token}"       # if it sends only the checkout's token

// Where the store's pixels have conditions (countries, currencies, kinds, milestones), send an event to these pixels alone:
//
//   for (const code of connectorPixels("order_paid", { country: "DE", currency: "EUR" })) {
//     ttq.instance(code).track(NAME, PROPERTIES, { event_id: … });
//   }
//
// A pixel is left out if it has a condition on something that you do not name. `kind` is "web" if you do not name it.

window.connectorPixels = function (milestone, known) {
  return pixelsFor(milestone, Object.assign({ kind: "web", country: "", currency: "" }, known));
};

window.connectorEventId = function (kind, known) {
  const pieces = settings.ids[kind] || [];
  let id = "";
  for (let at = 0; at < pieces.length; at += 1) {
    const value = at % 2 ? known[pieces[at]] : pieces[at];
    if (at % 2 && (value === undefined || value === null || String(value).trim() === "")) {
      return "";
    }
    id += at % 2 ? String(value).trim() : value;
  }
  return id;
};

// Sends a checkout's signals to the server: { checkout_token, ttclid, ttp, url, referrer, user_agent, consent }, where
// consent is "granted" or "denied"; omit what you do not have. After a refusal only the token and "denied" are sent.
window.connectorSignals = function (signals) {
  const sent = signals.consent === "denied" ? { checkout_token: signals.checkout_token, consent: "denied" } : signals;
  if (settings.collect && sent.checkout_token) {
    post(settings.collect, sent);
  }
  if (settings.meter && signals.consent === "denied") {
    stopMeter();
  }
};

// --- the report of what the page sent, in a store with a meter -------------------------------------------------

if (settings.meter) {
  startMeter();
}

function readSession(name) {
  return window.sessionStorage.getItem(name);
}

function writeSession(name, value) {
  window.sessionStorage.setItem(name, value);
}
