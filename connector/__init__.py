"""Shop webhooks in, TikTok Events API events out: once each, correctly valued, hashed and visible."""

__version__ = "0.1.0"
