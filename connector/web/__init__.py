"""The web application: the webhook endpoint, the beacon endpoint, health, metrics, and errors as HTTP answers."""
