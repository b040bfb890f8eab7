"""The sandbox: a fake Events API with TikTok's semantics, as far as they are known."""
