"""Problems, alerts and digests about them, and the statistics that dashboard, metrics and `connector stats` show."""
