// Runs TikTok's pixel on a WooCommerce page; the plugin fills `settings` for each page.

if (loadPixels()) {
  window.ttq.page();
}
if (Object.keys(settings.user).length) {
  window.ttq.identify(settings.user);
}
track(settings.names, settings.properties, settings.id);
