// For a page that runs TikTok's pixel already. Paste this once, then give each event the event_id that the server's copy
// has, as the third argument of ttq.track:
//
//   ttq.track(NAME, PROPERTIES, { event_id: connectorEventId("order", { order_id: "1001" }) });
//
// Where it returns "", a value that the template names is missing: do not send that event from the browser, the server
// does. Values are the shop's own ids as plain digits, without "gid://…/" before them.
//
// Or leave your pixel as it is, and write the form of its ids into the stores file, so that the server's become equal:
//
//   [stores.NAME.event_id]
//   order = "order-{order_id}"          # if your pixel sends order-1001
//   checkout = "{checkout_token}"       # if it sends the checkout's token, bare

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

// What only the browser knows, for a checkout: { checkout_token, ttclid, ttp, url, referrer, user_agent, consent },
// consent being "granted" or "denied"; leave out what you do not have. After a refusal send the token and "denied" alone.
window.connectorSignals = function (signals) {
  const sent = signals.consent === "denied" ? { checkout_token: signals.checkout_token, consent: "denied" } : signals;
  if (settings.collect && sent.checkout_token) {
    fetch(settings.collect, {
      method: "POST",
      mode: "no-cors",
      keepalive: true,
      credentials: "omit",
      headers: { "Content-Type": "text/plain;charset=UTF-8" },
      body: JSON.stringify(sent),
    }).catch(function () {});
  }
};
