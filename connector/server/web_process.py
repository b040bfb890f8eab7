"""The web half of `connector serve`: gunicorn, set up as shops need it."""

import gc
import os
import shutil
import tempfile

from connector.config.settings import Config, load
from connector.server.supervisor import end_with_parent
from connector.web.metrics_folder import METRICS_FOLDER

THREADS = 16  # while some wait for their commit, others are read, verified and mapped


def gunicorn_settings(config: Config) -> dict[str, object]:
    """Gunicorn as shops need it: threads with keep-alive, time-outs, and no file in anybody's home directory."""
    return {
        "bind": f"0.0.0.0:{config.port}",
        "workers": config.web_concurrency,
        "worker_class": "connector.server.gunicorn_worker.SlowClientWorker",
        "threads": THREADS,
        "keepalive": 75,  # Shopify re-uses connections; longer than the idle time-out of common load balancers
        "timeout": 30,
        "graceful_timeout": 20,
        "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,  # noqa: S108
        "control_socket_disable": True,
        "limit_request_line": 4094,
        "limit_request_fields": 100,
        # Gunicorn's own lines take the way of ours: the same form and level.
        "logconfig_dict": {
            "formatters": {"ours": {"()": "connector.core.logs.formatter", "form": config.log_format}},
            "handlers": {"ours": {"class": "logging.StreamHandler", "formatter": "ours", "stream": "ext://sys.stderr"}},
            "root": {"level": config.log_level, "handlers": ["ours"]},
            "loggers": {"gunicorn.error": {"level": config.log_level, "handlers": [], "propagate": True}},
        },
        "logger_class": "connector.server.gunicorn_worker.Log",
        "proc_name": "connector-web",
    }


def run_web(config: Config) -> None:
    """Gunicorn in this process; returns only by exiting."""
    share_request_metrics()  # before anything imports the library that counts
    # Imported before the workers are forked, so that they share what they only read; frozen, or the garbage collector
    # would write into those pages.
    from gunicorn.app.base import BaseApplication  # noqa: PLC0415
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

    from connector.web.application import wsgi  # noqa: PLC0415

    gc.collect()
    gc.freeze()

    class Web(BaseApplication):  # type: ignore[misc] # gunicorn has no types
        def load_config(self) -> None:
            # At the start and on HUP only. A worker that is replaced between gets these same settings, whatever
            # half-edited file lies on the disk at that moment.
            self.settings = load(os.environ)
            for key, value in gunicorn_settings(self.settings).items():
                self.cfg.set(key, value)
            self.cfg.set("on_starting", lambda _server: end_with_parent())
            self.cfg.set("child_exit", lambda _server, worker: mark_process_dead(worker.pid))  # type: ignore[no-untyped-call]
            self.cfg.set("on_exit", lambda _server: shutil.rmtree(os.environ[METRICS_FOLDER], ignore_errors=True))

        def load(self) -> object:
            return wsgi(self.settings)

    Web().run()


def share_request_metrics() -> None:
    """Make the folder in which all workers count their requests (`web.request_metrics`), in memory where possible."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    os.environ[METRICS_FOLDER] = tempfile.mkdtemp(prefix="connector-metrics-", dir=place)
