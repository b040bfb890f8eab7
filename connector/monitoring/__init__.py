"""What operators watch: problems and their alerts, quiet stores, and the numbers of webhooks and events."""
