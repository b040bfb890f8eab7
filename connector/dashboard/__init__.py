"""The dashboard: pages for the administrator, plain HTML made on the server. Its routes are in `pages`."""
