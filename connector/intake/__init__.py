"""The first half of an order's way, inside the HTTP request: verify, examine (parse, translate, map), store.

No network. Order of reading: `intake`, `examine`; `counters` and `replay` beside them.
"""
