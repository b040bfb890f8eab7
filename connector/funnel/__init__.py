"""The steps before an order, as browsers report them: guarded, counted, queued, and erased a day later."""
