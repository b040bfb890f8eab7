"""Intake: handling of a webhook inside the HTTP request: verify, examine (parse, translate, map), store.

No network access. Start reading at `Intake.verify` and `Intake.decide`. `replay` handles parked webhooks again; the
other modules support these: `counters`, `refusals` (causes of invalid signatures), `key_reader` (shops' public keys).
"""
