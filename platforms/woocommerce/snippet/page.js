// What a WooCommerce page tells TikTok's pixel; the plugin gives `settings`, made for this one page.

if (loadPixels()) {
  window.ttq.page();
}
if (Object.keys(settings.user).length) {
  window.ttq.identify(settings.user);
}
track(settings.names, settings.properties, settings.id);
