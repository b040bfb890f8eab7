"""The web application: the webhook endpoint, the beacon endpoint, health, metrics, and errors as HTTP answers.

Webhooks, beacons and health are answered in an event loop (ASGI); dashboard and metrics are Flask's, in threads.
"""
