// On every page of the shop, as soon as the visitor's consent allows it: stores TikTok's click id of the landing page for the
// checkout, also on cached pages, where no PHP runs, and loads TikTok's pixel, which sets `_ttp`. The checkout and the
// thank-you page have an event, whose consent the plugin has checked.

const LAST = "tiktok_connector_checkout"; // in the browser's storage: the id of the last checkout that was sent
const click = new URLSearchParams(window.location.search).get("ttclid");
// A shop that swaps its pages without loading them runs this script once for each; an earlier one must not answer for it.
const run = (window.tiktok_connector_runs = (window.tiktok_connector_runs || 0) + 1);

let denied = false; // by the visitor's last answer

if (document.prerendering) {
  document.addEventListener("prerenderingchange", start, { once: true });
} else {
  start();
}

function start() {
  if (settings.event) {
    loadAndView();
    if (!(settings.event.once && isSent(settings.event.id))) {
      const names = settings.event.names; // by pixel
      identify(settings.event.user, Object.keys(names));
      for (const code of Object.keys(names)) {
        track(names[code], settings.event.properties, settings.event.id, [code]);
      }
    }
  }
  if (document.readyState === "complete") {
    window.setTimeout(beginIfAllowed);
  } else {
    window.addEventListener("load", beginIfAllowed);
  }
  document.addEventListener("wp_listen_for_consent_change", function (change) {
    const answer = (change.detail || {}).marketing;
    if (answer === "allow") {
      begin();
    } else if (answer === "deny") {
      forget();
    }
  });
}

function beginIfAllowed() {
  if (hasAnswer() ? window.wp_has_consent("marketing") : !settings.ask) {
    begin();
  } else if (hasAnswer()) {
    forget();
  }
}

function hasAnswer() {
  const type = window.wp_consent_type || (window.consent_api || {}).consent_type; // without a type, every answer is yes
  return typeof window.wp_has_consent === "function" && Boolean(type);
}

function begin() {
  denied = false;
  if (run !== window.tiktok_connector_runs) {
    return;
  }
  if (click && cookie("ttclid") !== click) { // a browser keeps the server's cookie longer than one that a script has written
    setCookie("ttclid", click, "; max-age=" + settings.seconds);
    if (settings.funnel && settings.funnel_urls.first_party) {
      keepClick({ ttclid: click, consent: hasAnswer() ? "granted" : undefined });
    }
  }
  loadAndView();
  if (settings.funnel) {
    browse();
  }
}

function forget() {
  denied = true;
  if (settings.meter) {
    stopMeter();
  }
  setCookie("ttclid", "", "; max-age=0");
  if (settings.funnel) {
    forgetVisit();
  }
}

function loadAndView() {
  if (settings.pixels.length && loadPixels()) {
    callPixel(function () {
      window.ttq.page();
    });
  }
  if (settings.meter) {
    startMeter();
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

function setCookie(name, value, age) {
  const secure = window.location.protocol === "https:" ? "; Secure" : "";
  document.cookie = name + "=" + encodeURIComponent(value) + "; path=/; SameSite=Lax" + age + secure;
}

function readSession(name) {
  return window.sessionStorage.getItem(name);
}

function writeSession(name, value) {
  window.sessionStorage.setItem(name, value);
}
