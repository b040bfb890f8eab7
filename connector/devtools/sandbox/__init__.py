"""A fake Events API with TikTok's real semantics, as far as they are known."""
