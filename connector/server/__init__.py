"""Processes: the supervisor of `connector serve`, gunicorn's settings and its worker, an event loop."""
