"""The steps before an order, as browsers report them: guarded, counted, sent, and forgotten after a day."""
