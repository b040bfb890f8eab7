// Stores TikTok's click id of the landing page for the checkout, also on cached pages, where no PHP runs.

const click = new URLSearchParams(window.location.search).get("ttclid");

function keep() {
  const secure = window.location.protocol === "https:" ? "; Secure" : "";
  const age = "; max-age=" + settings.seconds;
  document.cookie = "ttclid=" + encodeURIComponent(click) + "; path=/; SameSite=Lax" + age + secure;
}

function ask() {
  const type = window.wp_consent_type || (window.consent_api || {}).consent_type; // without a type, every answer is yes
  const answered = typeof window.wp_has_consent === "function" && type;
  if (answered ? window.wp_has_consent("marketing") : !settings.ask) {
    keep();
  }
}

if (click) {
  window.addEventListener("load", ask);
  document.addEventListener("wp_listen_for_consent_change", function (change) {
    if (change.detail && change.detail.marketing === "allow") {
      keep();
    }
  });
}
