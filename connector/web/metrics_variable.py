"""The environment variable that names the folder in which all web processes count their requests.

A module of its own: prometheus_client reads the variable when it is first imported, so it is set before that.
"""

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
