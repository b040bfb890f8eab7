"""What a platform package may use of the connector."""
