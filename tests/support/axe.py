"""axe-core in a page, as each screen shows it: https://github.com/dequelabs/axe-core"""

from collections.abc import Iterator

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

SCREENS = {"desk": (1280, 900), "phone": (390, 844)}
SCHEMES = ("light", "dark")
COLOR_RULES = ["color-contrast", "link-in-text-block"]  # the rules that compare colors
# Removes what differs from an earlier sibling in words and numbers alone, not in tags, classes, ids or what is empty.
REMOVE_REPEATED = """() => {
  const given = / (href|title|datetime|aria-label|value|points|d|x|y|x1|x2|y1|y2|cx|cy|width|height)="[^"]+"/g;
  for (const parent of document.querySelectorAll("tbody, ul, ol, svg, svg g")) {
    const seen = new Set();
    for (const child of [...parent.children]) {
      const shape = child.outerHTML.replace(/>[^<]*[^<\\s][^<]*/g, ">words").replace(given, " $1");
      if (seen.has(shape)) child.remove();
      seen.add(shape);
    }
  }
}"""
FINDINGS = """async rules => {
  const quick = {resultTypes: ["violations"], selectors: false, iframes: false, preload: false};
  return (await axe.run({...quick, ...rules})).violations;
}"""


def looks(page: Page) -> Iterator[str]:
    """Show the page at a desk and on a phone, light and dark; yield the name of each look.

    It is not loaded again: its layout is the style sheet's alone.
    """
    for screen, (width, height) in SCREENS.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            yield f"{screen}, {scheme}"


def hindrances(page: Page, where: str) -> list[str]:
    """Return what keeps somebody out, in any look: the findings that axe-core calls serious or critical, and a page
    that is wider than its screen.

    To compare colors takes axe-core most of its time, so of equal rows it sees one: the others are removed. Its other
    rules are about the document and its layout, which are the same light and dark.
    """
    found = []
    for look in looks(page):
        if page.evaluate("document.documentElement.scrollWidth") > SCREENS[look.partition(",")[0]][0]:
            found.append(f"{where}, {look}: wider than the screen")
    page.evaluate(Axe().axe_script)
    page.evaluate(REMOVE_REPEATED)
    for look in looks(page):
        rules = {} if look.endswith(SCHEMES[0]) else {"runOnly": COLOR_RULES}
        found += [f"{where}, {look}: {finding}" for finding in _serious_findings(page, rules)]
    return found


def _serious_findings(page: Page, rules: dict[str, list[str]]) -> list[str]:
    return [
        f"{one['id']}: {node['html'][:120]}"
        for one in page.evaluate(FINDINGS, rules)
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
