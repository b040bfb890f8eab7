"""From our event to TikTok's: event name, event_id, value, contents, consent, normalised and hashed user data.

Pure functions. Nothing here stores or sends anything.
"""
