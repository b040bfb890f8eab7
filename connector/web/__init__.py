"""The web application: endpoints for webhooks and for what browsers send, health, metrics, and errors as HTTP answers.

All endpoints and health are answered in an event loop (ASGI); dashboard and metrics are Flask's, in threads.
"""
