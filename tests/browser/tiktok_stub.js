// Stands in for TikTok's script: works off what waits in `ttq`, then takes calls itself, and writes all of them down.
(function () {
  const code = new URL(document.currentScript.src).searchParams.get("sdkid");
  const report = function (pixel, call) {
    window.top.postMessage({ tiktok: { pixel: pixel, method: call[0], arguments: Array.from(call).slice(1) } }, "*");
  };
  const take = function (queue, pixel) {
    queue.splice(0).forEach(function (call) {
      report(pixel, call);
    });
    queue.push = function (call) {
      report(pixel, call);
    };
  };
  window.ttq._i[code]._load = Date.now(); // as TikTok's does
  take(window.ttq, "");
  take(window.ttq._i[code], code);
})();
