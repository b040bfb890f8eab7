"""The vocabulary: events, stores, webhooks, and how a request is read and verified.

Only values, pure functions, and the protocols that a platform implements: no database, no web framework, no TikTok.
"""
