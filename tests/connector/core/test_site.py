"""connector.core.site: which hosts can share a cookie."""

from connector.core.site import common_domain, is_same_site
from tests.support.rows import each_row


@each_row(
    ("one", "other", "domain"),
    [
        ("acme.example", "events.acme.example", "acme.example"),
        ("www.acme.example", "events.acme.example", "acme.example"),
        ("acme.co.uk", "t.acme.co.uk", "acme.co.uk"),
        ("acme.example", "beans.example", ""),
        ("acme.example", "xacme.example", ""),
        ("localhost", "localhost", ""),
        ("10.0.0.1", "11.0.0.1", ""),
        ("", "acme.example", ""),
    ],
)
def test_common_domain(one, other, domain):
    assert common_domain(one, other) == domain
    assert common_domain(other, one) == domain


def test_is_same_site():
    assert is_same_site("localhost", "localhost")
    assert is_same_site("acme.example", "www.acme.example")
    assert not is_same_site("acme.example", "beans.example")
    assert not is_same_site("", "")
