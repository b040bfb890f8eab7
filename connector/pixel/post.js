// A simple request, without a preflight: a sandbox has the origin "null". It outlives the page, and nobody waits for its answer.
function post(address, body) {
  fetch(address, {
    method: "POST",
    mode: "no-cors",
    keepalive: true,
    credentials: "omit",
    headers: { "Content-Type": "text/plain;charset=UTF-8" },
    body: JSON.stringify(body),
  }).catch(function () {});
}
