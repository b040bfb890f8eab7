// Which of the store's pixels get an event, by the conditions that the server applies to its copy. ES2017.

// The pixels that take a milestone of an order or checkout; `facts` are its country, currency and kind. One that the page
// does not know ("") meets no condition: the server alone sends the event there.
function pixelsFor(milestone, facts) {
  return settings.pixels.filter(function (code) {
    const route = settings.routes[code] || {};
    return (
      allows(route.milestones, milestone) &&
      allows(route.kinds, facts.kind) &&
      allows(route.countries, facts.country) &&
      allows(route.currencies, facts.currency)
    );
  });
}

// The pixels that take what a visitor does before an order. The visitor's country is not known, so it does not count.
function browsingPixels(currency) {
  return settings.pixels.filter(function (code) {
    const route = settings.routes[code] || {};
    const listed = (route.milestones || []).length > 0; // none of them is a step before an order
    return !listed && allows(route.kinds, "web") && (!currency || allows(route.currencies, currency));
  });
}

function allows(allowed, value) {
  return !(allowed || []).length || allowed.includes(value);
}

// The names of the milestones' events by the code of each pixel that takes one.
function namesByPixel(milestones, facts) {
  const found = {};
  for (const milestone of milestones) {
    const names = (settings.events_of_kinds[facts.kind] || {})[milestone] || settings.events[milestone];
    for (const code of names.length ? pixelsFor(milestone, facts) : []) {
      found[code] = (found[code] || []).concat(names);
    }
  }
  return found;
}
