"""pytest's option --platform, for the conformance kit: `pytest --pyargs connector.plugin.testing --platform NAME`."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--platform",
        action="append",
        default=[],
        metavar="NAME",
        help="the platform that the conformance kit of the connector tests; repeatable, by default all installed ones",
    )
