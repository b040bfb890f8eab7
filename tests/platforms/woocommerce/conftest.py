"""A fake WooCommerce shop, and a certificate, for the tests of this folder."""

import pytest

from tests.support.fakes import certificate
from tests.support.woocommerce_api import fake


@pytest.fixture
def shop():
    with fake() as shop:
        yield shop


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    return certificate.make(tmp_path_factory.mktemp("tls"))
