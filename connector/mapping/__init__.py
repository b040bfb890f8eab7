"""Mapping of a shop's event to TikTok's item: filters, event name, event_id, properties, consent, hashed user data.

Pure functions: nothing is stored or sent. Start reading at `tiktok_event`; the other modules are its parts.
"""
