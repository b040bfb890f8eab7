"""axe-core in a page, as each screen shows it: https://github.com/dequelabs/axe-core"""

from collections.abc import Iterator

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

SCREENS = {"desk": (1280, 900), "phone": (390, 844)}
SCHEMES = ("light", "dark")


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
    that is wider than its screen."""
    found = []
    page.evaluate(Axe().axe_script)
    for look in looks(page):
        found += [f"{where}, {look}: {finding}" for finding in _serious_findings(page)]
        if page.evaluate("document.documentElement.scrollWidth") > SCREENS[look.partition(",")[0]][0]:
            found.append(f"{where}, {look}: wider than the screen")
    return found


def _serious_findings(page: Page) -> list[str]:
    violations = page.evaluate("axe.run({resultTypes: ['violations']}).then(results => results.violations)")
    return [
        f"{one['id']}: {node['html'][:120]}"
        for one in violations
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
