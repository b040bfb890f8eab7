"""Intake: handling of a webhook inside the HTTP request: verify, examine (parse, translate, map), store.

No network access. Start reading at `Intake.take`, then `examine`; `counters` and `replay` support them.
"""
