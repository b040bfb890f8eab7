"""The conformance kit's option and marker: `pytest --pyargs connector.plugin.testing --platform NAME -m 'not slow'`."""

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


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "slow: takes seconds, such as a test that tries thousands of values")
