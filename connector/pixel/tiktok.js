// Loads TikTok's pixel, next to one that the page may already have. Like the base code of TikTok's Events Manager, it
// queues calls in the array `ttq` until TikTok's script has loaded and runs them. ES2017.

const SDK = "https://analytics.tiktok.com/i18n/pixel/events.js";
const METHODS = ("page track identify instances debug on off once ready alias group enableCookie disableCookie holdConsent " +
  "revokeConsent grantConsent").split(" "); // as in the base code; which of them TikTok's script needs is not documented
const EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; // SHA-256 of ""
const NONCE = (document.currentScript || {}).nonce; // of a page whose policy lets only scripts with a nonce run
const LONGEST_ID = 512; // the server sends a hash of longer ids, which is too rare to repeat here

// Returns true if this created the page's `ttq`, false if the page had one already; then that base code is used.
function loadPixels() {
  const created = !(window.ttq && window.ttq.track);
  if (created) {
    startQueue();
  }
  for (const code of settings.pixels) {
    if (!(window.ttq._i && window.ttq._i[code])) {
      window.ttq.load(code, settings.limited_data_use ? { limited_data_use: true } : {});
    }
  }
  return created;
}

function startQueue() {
  const ttq = queued([]);
  window.TiktokAnalyticsObject = "ttq";
  window.ttq = ttq;
  ttq.methods = METHODS;
  ttq.setAndDefer = defer;
  ttq._i = {};
  ttq._t = {};
  ttq._o = {};
  ttq.instance = function (code) {
    return ttq._i[code];
  };
  ttq.load = function (code, options) {
    ttq._i[code] = queued([]);
    ttq._i[code]._u = SDK;
    ttq._t[code] = Date.now();
    ttq._o[code] = options || {};
    const script = document.createElement("script");
    script.async = true;
    script.nonce = NONCE || "";
    script.src = SDK + "?sdkid=" + encodeURIComponent(code) + "&lib=ttq";
    document.head.appendChild(script);
  };
}

function queued(calls) {
  METHODS.forEach(function (method) {
    defer(calls, method);
  });
  return calls;
}

function defer(calls, method) {
  calls[method] = function () {
    calls.push([method].concat(Array.from(arguments)));
  };
}

// Tells these pixels, or all of the store's, who the shopper is. What was said to a pixel itself outweighs what was said to
// all of them, so the pixels are told one by one. Other code on the page may have said before that a guest has an empty
// e-mail or phone, whose hash TikTok would send with our events, too.
function identify(user, codes) {
  for (const code of codes || settings.pixels) {
    const pixel = window.ttq.instance(code);
    forgetEmpty(window.ttq);
    forgetEmpty(pixel);
    if (Object.keys(user).length) {
      pixel.identify(user);
    }
  }
}

function forgetEmpty(calls) {
  for (const call of Array.isArray(calls) ? calls.filter(Array.isArray) : []) {
    const user = call[0] === "identify" && call[1] ? call[1] : {};
    for (const key of Object.keys(user)) {
      if (user[key] === "" || user[key] === EMPTY) {
        delete user[key];
      }
    }
  }
}

// Sends to these pixels of the store, or to those that take what happens before an order; the page may have others. Without
// an id TikTok cannot match this copy with the server's.
function track(names, properties, id, codes) {
  if (!id || id.length > LONGEST_ID) {
    return;
  }
  for (const name of new Set(names)) {
    for (const code of codes || browsingPixels(properties.currency)) {
      callPixel(function () {
        window.ttq.instance(code).track(name, properties, { event_id: id });
      });
    }
  }
}

// In a store with a meter, the call is noted as this code's.
function callPixel(send) {
  if (settings.meter) {
    asOurs(send);
  } else {
    send();
  }
}
