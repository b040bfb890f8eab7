"""The processes: the supervisor behind `connector serve`, gunicorn and its workers."""
