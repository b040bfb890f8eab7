"""axe-core in a page: https://github.com/dequelabs/axe-core"""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def serious_findings(page: Page, where: str) -> list[str]:
    """Return the findings that axe-core calls serious or critical."""
    violations = Axe().run(page).response["violations"]
    return [
        f"{where}: {one['id']}: {node['html'][:120]}"
        for one in violations
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
