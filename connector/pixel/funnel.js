// Events before the order, such as ViewContent: each goes to TikTok's pixel and to the server under one event_id, which is
// made here. Around this code are `readSession` and `writeSession`, storage that ends with the tab, and `askForToken`.

const TOKEN = "tiktok_connector_token"; // in that storage
const REFUSED = 403; // the token has expired, or has been used for as many events as it is good for
const MARGIN = 30; // seconds before a token's end in which it is not used any more
const LONGEST = 16384; // bytes of a report that the server takes
const MOST_CONTENTS = 50; // products of an event that it reads
let permit = null; // promise of the token, with what came with it

// 32 random hexadecimal digits.
function newEventId() {
  return Array.from(window.crypto.getRandomValues(new Uint8Array(16)), function (byte) {
    return byte.toString(16).padStart(2, "0");
  }).join("");
}

// Sends events of one page to the server; `visitor` is what they have in common. Once more with a new token if the first one
// is refused. An answer that cannot be read is taken for a yes.
async function sendEvents(events, visitor) {
  for (const renewed of [false, true]) {
    const token = (await permitOf(renewed)).token;
    if (!token || (await deliver(Object.assign({ token: token, events: events }, visitor))) !== REFUSED) {
      return;
    }
  }
}

// Stores the click id in a cookie by HTTP, which browsers keep longer than a script's.
function keepClick(visitor) {
  return deliver(Object.assign({ events: [] }, visitor));
}

// Cookies, as they are written, that delete the click id's: a server on the shop's own site has set it for a whole domain.
function clickRemovals(host) {
  const labels = host.split(".");
  const domains = labels.slice(1).map(function (label, at) {
    return "; domain=" + labels.slice(at).join(".");
  });
  return [""].concat(domains).map(function (domain) {
    return "ttclid=; path=/; max-age=0" + domain;
  });
}

// A simple request, without a preflight. Returns the HTTP status, or 0.
async function deliver(body) {
  const address = settings.funnel_urls;
  try {
    const answer = await window.fetch(address.event, {
      method: "POST",
      keepalive: true,
      credentials: address.first_party ? "include" : "omit",
      headers: { "Content-Type": "text/plain;charset=UTF-8" },
      body: encoded(body),
    });
    return answer.status;
  } catch (error) {
    return 0;
  }
}

// JSON with what of the products fits: first without names, and without the products that the server does not read.
function encoded(report) {
  let body = JSON.stringify(report);
  for (const most of [MOST_CONTENTS, 0]) {
    if (new TextEncoder().encode(body).length > LONGEST) {
      body = JSON.stringify(report, function (name, value) {
        return name === "content_name" ? undefined : name === "contents" ? value.slice(0, most) : value;
      });
    }
  }
  return body;
}

function permitOf(renewed) {
  if (renewed || !permit) {
    permit = findPermit(renewed);
  }
  return permit;
}

async function findPermit(renewed) {
  try {
    const kept = renewed ? null : JSON.parse((await readSession(TOKEN)) || "null");
    if (kept && kept.expires - MARGIN > Date.now() / 1000) {
      return kept;
    }
    const found = (await askForToken()) || {};
    await writeSession(TOKEN, JSON.stringify(found));
    return found;
  } catch (error) {
    return {};
  }
}
