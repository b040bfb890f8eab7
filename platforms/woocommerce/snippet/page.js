// On every page of the shop, as soon as the visitor's consent allows it: stores TikTok's click id of the landing page for the
// checkout, also on cached pages, where no PHP runs, and loads TikTok's pixel, which sets `_ttp`. The checkout and the
// thank-you page have an event, whose consent the plugin has checked.

const LAST = "tiktok_connector_checkout"; // in the browser's storage: the id of the last checkout that was sent
const click = new URLSearchParams(window.location.search).get("ttclid");

if (settings.event) {
  loadAndView();
  if (!(settings.event.once && isSent(settings.event.id))) {
    identify(settings.event.user);
    track(settings.event.names, settings.event.properties, settings.event.id);
  }
}
window.addEventListener("load", function () {
  const type = window.wp_consent_type || (window.consent_api || {}).consent_type; // without a type, every answer is yes
  const answered = typeof window.wp_has_consent === "function" && type;
  if (answered ? window.wp_has_consent("marketing") : !settings.ask) {
    begin();
  }
});
document.addEventListener("wp_listen_for_consent_change", function (change) {
  if (change.detail && change.detail.marketing === "allow") {
    begin();
  }
});

function begin() {
  if (click && cookie("ttclid") !== click) { // a browser keeps the server's cookie longer than one that a script has written
    const secure = window.location.protocol === "https:" ? "; Secure" : "";
    const age = "; max-age=" + settings.seconds;
    document.cookie = "ttclid=" + encodeURIComponent(click) + "; path=/; SameSite=Lax" + age + secure;
  }
  loadAndView();
}

function loadAndView() {
  if (settings.pixels.length && loadPixels()) {
    window.ttq.page();
  }
}

// A checkout that is opened again, also with another cart, has the same id. The server keeps the first copy, and so does
// this browser.
function isSent(id) {
  try {
    const sent = window.localStorage.getItem(LAST) === id;
    window.localStorage.setItem(LAST, id);
    return sent;
  } catch (error) {
    return false;
  }
}

function cookie(name) {
  const found = document.cookie.split("; ").find(function (one) {
    return one.startsWith(name + "=");
  });
  try {
    return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
  } catch (error) {
    return "";
  }
}
