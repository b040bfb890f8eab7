// Sends an event to the connector, signed by the Standard Webhooks. Node 18 or newer, without packages.
import { createHmac, randomBytes } from "node:crypto";

// Posts the event to https://CONNECTOR/webhooks/STORE and returns the answer. Do not let the shopper wait for it: it repeats
// what could not be delivered. Throws an Error if the event is refused, or after the last attempt.
export async function sendEvent(url, secret, event, attempts = 5) {
  const body = JSON.stringify(event);
  const key = secret.startsWith("whsec_") ? Buffer.from(secret.slice(6), "base64") : secret;
  const id = "msg_" + randomBytes(12).toString("hex");
  let why = "";
  for (let attempt = 0; attempt < attempts; attempt++) {
    const now = String(Math.floor(Date.now() / 1000));
    const signature = createHmac("sha256", key).update(`${id}.${now}.${body}`).digest("base64");
    const headers = { "content-type": "application/json", "webhook-id": id, "webhook-timestamp": now };
    headers["webhook-signature"] = `v1,${signature}`;
    try {
      const answer = await fetch(url, { method: "POST", body, headers, signal: AbortSignal.timeout(10_000) });
      const text = await answer.text();
      if (answer.ok) return text;
      why = `${answer.status} ${text}`;
      if (answer.status < 500) break;
    } catch (error) {
      why = String(error);
    }
    if (attempt + 1 < attempts) await new Promise((wake) => setTimeout(wake, 1000 * 4 ** attempt));
  }
  throw new Error(`the event was not delivered: ${why}`);
}
