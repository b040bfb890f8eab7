"""Intake: handling of a webhook inside the HTTP request: verify, examine (parse, translate, map), store.

No network access. Start reading at `Intake.verify` and `Intake.examine`; `counters` and `replay` support them.
"""
