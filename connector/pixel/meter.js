// Reports to the server what this page has sent to TikTok: which events of an order, under which event_ids, by this code or
// other code that uses the store's pixels, and whether TikTok's script has run; and once in a while for each tab, of which
// version this code is. Nothing of the visitor. It is started once the visitor's consent allows TikTok's script. Around it are
// `readSession` and `writeSession`, storage that ends with the tab.

const REPORTED = "tiktok_connector_reported"; // in that storage: when this tab has reported, in ms
const SELDOM = 3600000; // ms between two reports of a tab that has sent no order
const PATIENCE = 8000; // ms in which TikTok's script runs, or is taken for blocked
const GATHER = 1000; // ms after a copy in which others join its report
const meter = { running: false, heard: false, settled: null, timer: 0 };

async function startMeter() {
  const noted = watchCalls();
  if (meter.running) {
    return;
  }
  meter.running = true;
  if (!meter.settled) {
    meter.settled = scriptsSettle(noted);
    noted.heard.push(reportSoon);
    window.addEventListener("pagehide", function () {
      report(noted.copies.length > 0);
    });
  }
  reportSoon();
  if (Date.now() - (await lastReport()) >= SELDOM) {
    await meter.settled;
    report(true);
  }
}

// After a no, nothing of what was noted is told.
function stopMeter() {
  meter.running = false;
  watchCalls().copies = [];
}

// Has what `send` sends to TikTok's pixel noted as this code's.
function asOurs(send) {
  const noted = watchCalls();
  noted.ours = true;
  try {
    send();
  } finally {
    noted.ours = false;
  }
}

function reportSoon() {
  if (!meter.timer && watchCalls().copies.length) {
    meter.timer = window.setTimeout(async function () {
      await meter.settled;
      meter.timer = 0;
      report(watchCalls().copies.length > 0);
    }, GATHER);
  }
}

async function report(wanted) {
  if (!meter.running || !wanted) {
    return;
  }
  const noted = watchCalls();
  const copies = noted.copies.splice(0).map(function (copy) {
    return Object.assign({}, copy, { at: undefined, after: Date.now() - Math.max(copy.at, noted.loadedAt) });
  });
  post(settings.meter.url, {
    version: settings.version,
    loaded: noted.loadedAt > 0,
    others: noted.others,
    copies: copies,
  });
  try {
    await writeSession(REPORTED, String(Date.now()));
  } catch (error) {
    // there is no storage
  }
}

// Without storage a tab would report with every page; then it does so only with an order.
async function lastReport() {
  try {
    return Number(await readSession(REPORTED)) || 0;
  } catch (error) {
    return Date.now();
  }
}

// Waits until TikTok's script of one pixel has run, those of all are blocked, the page is left or it has taken too long.
function scriptsSettle(noted) {
  return new Promise(function (resolve) {
    const look = function () {
      if (noted.loadedAt || noted.blocked.size >= settings.meter.pixels.length) {
        resolve();
      }
    };
    noted.heard.push(look);
    look();
    window.addEventListener("pagehide", resolve);
    window.setTimeout(resolve, PATIENCE);
  });
}
