"""The dashboard: server-rendered HTML pages for the administrator. `routes` puts them together."""
