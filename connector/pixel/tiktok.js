// TikTok's pixel, beside whatever of it the page has already. It is what the base code of TikTok's Events Manager does:
// calls wait in the array `ttq` until TikTok's script comes and works them off. ES2017.

const SDK = "https://analytics.tiktok.com/i18n/pixel/events.js";
const METHODS = ("page track identify instances debug on off once ready alias group enableCookie disableCookie holdConsent " +
  "revokeConsent grantConsent").split(" "); // all of the base code's: what TikTok's script looks for is not documented
const LONGEST_ID = 512; // the server sends a hash of longer ones, which is not worth its code here

// True if this made the page's `ttq`; false if the page has one of its own, whose base code then stays the only one.
function loadPixels() {
  const ours = !(window.ttq && window.ttq.track);
  if (ours) {
    startQueue();
  }
  for (const code of settings.pixels) {
    if (!(window.ttq._i && window.ttq._i[code])) {
      window.ttq.load(code, settings.limited_data_use ? { limited_data_use: true } : {});
    }
  }
  return ours;
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

// To our pixels only: the page may have others. Without an id TikTok could not tell this copy from the server's.
function track(names, properties, id) {
  if (!id || id.length > LONGEST_ID) {
    return;
  }
  for (const name of new Set(names)) {
    for (const code of settings.pixels) {
      window.ttq.instance(code).track(name, properties, { event_id: id });
    }
  }
}
