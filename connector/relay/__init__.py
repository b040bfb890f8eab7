"""Delivery to TikTok, in its own process: lease queued events, send them in batches, settle the results."""
