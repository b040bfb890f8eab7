// Notes the calls of TikTok's pixel on this page, of this code and of any other, and whether TikTok's script has run. Nothing
// leaves the page here. Where a platform's code can, it runs this in the page's head, before other code calls the pixel.

const TIKTOK = "https://analytics.tiktok.com/"; // where its scripts come from
const NOTED = "tiktok_connector_calls"; // of the window: what was noted
const MOST = 20; // calls of one page

// Begins once for a page, and returns what is noted: `copies` of the store's events, whether `others` use its pixels, `loadedAt`
// (ms, 0 before), and `blocked`, the pixels whose script did not load. While `ours` is set, calls are this code's.
function watchCalls() {
  if (!window[NOTED]) {
    window[NOTED] = { copies: [], others: false, loadedAt: 0, blocked: new Set(), ours: false, inside: 0, old: new WeakSet(), heard: [] };
    document.addEventListener("load", scriptEnded, true);
    document.addEventListener("error", scriptEnded, true);
    // The base code of TikTok's pixel adds its script, and then other functions stand in the place of the ones that were watched.
    new MutationObserver(function (changes) {
      if (changes.some((change) => Array.from(change.addedNodes).some(isTiktoks))) {
        look();
      }
    }).observe(document, { childList: true, subtree: true });
  }
  look();
  return window[NOTED];
}

function isTiktoks(node) {
  return node.nodeName === "SCRIPT" && node.src.startsWith(TIKTOK);
}

function scriptEnded(event) {
  const script = event.target;
  if (!script || !isTiktoks(script)) {
    return;
  }
  const code = settings.meter.pixels.find((one) => script.src.includes("sdkid=" + one));
  if (code && event.type === "error") {
    window[NOTED].blocked.add(code);
  }
  look();
  window[NOTED].heard.forEach((hear) => hear());
}

// Looks at the calls that wait for TikTok's script, and has all further ones noted.
function look() {
  const noted = window[NOTED];
  const ttq = window.ttq;
  if (!ttq) {
    return;
  }
  try {
    follow(ttq, null);
    for (const code of settings.meter.pixels) {
      const pixel = (ttq._i || {})[code];
      if (pixel) {
        follow(pixel, code);
        noted.loadedAt = noted.loadedAt || (hasRun(pixel) ? Date.now() : 0);
      }
    }
    followInstances(ttq);
  } catch (error) {
    // Whatever the page has made of its pixel, it goes on.
  }
}

// TikTok's script writes into the queue of its pixel, or puts an object in its place.
function hasRun(pixel) {
  return !Array.isArray(pixel) || Boolean(pixel._load);
}

function follow(target, code) {
  for (const call of unseen(target)) {
    note(code, call[0], call.slice(1));
  }
  for (const method of ["track", "page"]) {
    const original = target[method];
    if (typeof original === "function" && !original.noted) {
      target[method] = function () {
        const given = Array.from(arguments);
        note(code, method, given);
        window[NOTED].inside += 1; // TikTok's `ttq.track` calls that of each pixel
        try {
          return original.apply(this, given);
        } finally {
          window[NOTED].inside -= 1;
          unseen(target);
        }
      };
      target[method].noted = true;
    }
  }
}

function followInstances(ttq) {
  const original = ttq.instance;
  if (typeof original === "function" && !original.noted) {
    ttq.instance = function (code) {
      const found = original.apply(this, arguments);
      if (found && settings.meter.pixels.includes(code)) {
        follow(found, code);
      }
      return found;
    };
    ttq.instance.noted = true;
  }
}

// The calls in a queue that were not looked at before.
function unseen(queue) {
  const calls = Array.isArray(queue) ? queue.filter((call) => Array.isArray(call) && !window[NOTED].old.has(call)) : [];
  calls.forEach((call) => window[NOTED].old.add(call));
  return calls;
}

// `code` is the pixel that is called, null for all that the page has.
function note(code, method, given) {
  const noted = window[NOTED];
  const isOurs = noted.ours;
  const codes = code ? [code] : settings.meter.pixels.filter((one) => (window.ttq._i || {})[one]);
  if (noted.inside || !codes.length || (method !== "track" && method !== "page")) {
    return;
  }
  noted.others = noted.others || !isOurs;
  if (method === "track" && settings.meter.events.includes(given[0])) {
    const properties = given[1] || {};
    for (const one of codes) {
      noted.copies.push({
        pixel: one,
        event: given[0],
        event_id: (given[2] || {}).event_id,
        value: properties.value,
        currency: properties.currency,
        ours: isOurs,
        at: Date.now(),
      });
    }
    noted.copies.splice(MOST);
    noted.heard.forEach((hear) => hear());
  }
}
