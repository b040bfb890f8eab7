"""The outbox and the ledger, between intake and relay: a row for each event to send, a line for each webhook."""
