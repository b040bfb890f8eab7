"""The vocabulary: events, stores, webhooks, and the reading and verification of requests.

Only values, pure functions, and the protocols that a platform implements: no database, no web framework, no TikTok.
"""
