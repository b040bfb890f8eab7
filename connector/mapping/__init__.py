"""From a shop's event to TikTok's item: filters, event name, event_id, properties, consent, hashed user data.

Pure functions: nothing is stored or sent. `tiktok_event` comes first; the other modules are its parts.
"""
