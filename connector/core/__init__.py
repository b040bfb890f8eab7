"""The vocabulary: what happened in a shop, the store it happened in, and how a request is read and verified.

Only values and pure functions, and the protocols that a platform implements. Nothing here knows a database, a web
framework or TikTok.
"""
