"""The second half of the way of an order, a process of its own: claim, batch, send to TikTok, settle."""
