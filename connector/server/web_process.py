"""The web process of `connector serve`: gunicorn with settings for webhooks."""

import gc
import os
import shutil

from connector.config.settings import Config, load
from connector.server.metrics_folder import create_metrics_folder, default_location, remove_abandoned_folders
from connector.storage.engine import connect
from connector.web.metrics_variable import METRICS_FOLDER


def gunicorn_settings(config: Config) -> dict[str, object]:
    """Return gunicorn's settings: event loops, keep-alive, timeouts, logging, and no files in a home directory."""
    return {
        "bind": f"0.0.0.0:{config.port}",
        "workers": config.web_concurrency,
        "worker_class": "connector.server.gunicorn_worker.EventLoopWorker",
        "keepalive": 75,  # seconds; shops reuse connections, and common load balancers close idle ones earlier
        "timeout": 30,
        "graceful_timeout": 20,
        "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,  # noqa: S108
        "control_socket_disable": True,
        # Gunicorn logs with the connector's format and level.
        "logconfig_dict": {
            "formatters": {"connector": {"()": "connector.core.logs.formatter", "form": config.log_format}},
            "handlers": {
                "connector": {"class": "logging.StreamHandler", "formatter": "connector", "stream": "ext://sys.stderr"}
            },
            "root": {"level": config.log_level, "handlers": ["connector"]},
            "loggers": {"gunicorn.error": {"level": config.log_level, "handlers": [], "propagate": True}},
        },
        "logger_class": "connector.server.gunicorn_worker.Log",
        "proc_name": "connector-web",
    }


def run_web(config: Config) -> None:
    """Run gunicorn in this process; it ends by exiting the process."""
    share_request_metrics()  # before prometheus_client is imported
    # Imported before the workers are forked, so that they share this memory. gc.freeze() keeps the garbage collector
    # from writing into the shared pages.
    from gunicorn.app.base import BaseApplication  # noqa: PLC0415
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

    from connector.web.application import create_application  # noqa: PLC0415

    connect(config.database_url).dispose()  # imports the driver
    gc.collect()
    gc.freeze()

    class Web(BaseApplication):  # type: ignore[misc] # gunicorn has no types
        def load_config(self) -> None:
            # Called at the start and on HUP only: a worker that is replaced in between gets the same settings, even if
            # the file is being edited.
            self.settings = load(os.environ)
            for key, value in gunicorn_settings(self.settings).items():
                self.cfg.set(key, value)
            self.cfg.set("child_exit", lambda _server, worker: mark_process_dead(worker.pid))  # type: ignore[no-untyped-call]
            self.cfg.set("on_exit", lambda _server: shutil.rmtree(os.environ[METRICS_FOLDER], ignore_errors=True))

        def load(self) -> object:
            return create_application(self.settings)

    Web().run()


def share_request_metrics() -> None:
    """Create the folder for the request metrics of all workers (`web.request_metrics`); remove abandoned ones."""
    location = default_location()
    remove_abandoned_folders(location)
    os.environ[METRICS_FOLDER] = str(create_metrics_folder(location))
