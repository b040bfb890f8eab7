"""Problems, alerts about them, and statistics of webhooks and events, for operators."""
