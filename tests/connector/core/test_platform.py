"""The defaults of a platform's facts hold for any platform."""

from connector.core.event import Item
from connector.core.platform import PlatformFacts
from connector.core.store import MappingSettings
from connector.mapping.properties import content_id
from tests.support.factories import a_store


def test_an_item_has_a_content_id_where_a_platform_states_none():
    """The mapping knows the default; an order with items would be parked otherwise."""
    store = a_store(mapping=MappingSettings(content_id=PlatformFacts().content_id))
    assert content_id(Item(product_id="1", variant_id="2", sku="three"), store) == "2"
    assert content_id(Item(product_id="1"), store) == "1"
