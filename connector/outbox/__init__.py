"""The outbox and the ledger, between intake and relay: a row for each event to send, a line for each webhook.

Beside them, what a webhook leaves for others: notices of thin webhooks, the books of orders, and the lanes' state.
Start reading at `outbox` (intake's half) and `queue` (the relay's).
"""
