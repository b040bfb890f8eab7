"""The first half of the way of an order, inside the request: verify, parse, translate, map, store. No network."""
