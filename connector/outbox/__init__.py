"""The outbox and the ledger: where intake and relay meet. One row per event to send, one line per webhook received."""
