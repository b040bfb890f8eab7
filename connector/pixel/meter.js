// Reports to the server that this code runs, of which version it is, and whether TikTok's script has loaded: once in a while
// for each tab, and nothing of the visitor. Around this code are `readSession` and `writeSession`, storage that ends with the
// tab. It is started once the visitor's consent allows TikTok's script.

const REPORTED = "tiktok_connector_reported"; // in that storage: when this tab has reported, in ms
const SELDOM = 3600000; // ms between two reports of a tab
const PATIENCE = 8000; // ms in which TikTok's script loads, or is taken for blocked
const meter = { running: false, loaded: false };

async function startMeter() {
  if (meter.running) {
    return;
  }
  meter.running = true;
  const scripts = scriptsOutcome();
  if (Date.now() - (await lastReport()) >= SELDOM) {
    await scripts;
    await report();
  }
}

function stopMeter() {
  meter.running = false;
}

async function report() {
  if (meter.running) {
    post(settings.meter.url, { version: settings.version, loaded: meter.loaded });
    try {
      await writeSession(REPORTED, String(Date.now()));
    } catch (error) {
      // there is no storage
    }
  }
}

// Without storage a tab would report with every page; then it does not.
async function lastReport() {
  try {
    return Number(await readSession(REPORTED)) || 0;
  } catch (error) {
    return Date.now();
  }
}

// Waits until one of the store's pixels has loaded, all are blocked, the page is left or it has taken too long.
function scriptsOutcome() {
  return new Promise(function (resolve) {
    let open = settings.meter.pixels.length;
    for (const code of settings.meter.pixels) {
      const script = document.querySelector('script[src*="sdkid=' + code + '"]');
      if (script) {
        script.addEventListener("load", function () {
          meter.loaded = true;
          resolve();
        });
        script.addEventListener("error", function () {
          open -= 1;
          if (!open) {
            resolve();
          }
        });
      }
    }
    window.addEventListener("pagehide", resolve);
    window.setTimeout(resolve, PATIENCE);
  });
}
