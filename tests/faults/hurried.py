"""The connector's own commands with shorter times: `python hurried.py serve|web|relay|sandbox PORT`.

A killed relay's lease lasts two minutes, a pause up to ten: nobody waits for that two hundred times. Those times are
constants, not settings, since no operator should turn them; so they are set here, before the real command runs.
"""

import logging
import os
import sys

from connector.cli import main as commands
from connector.core import logs
from connector.devtools.sandbox import server
from connector.relay import events_api, relay
from connector.server import supervisor

relay.LEASE = 6.0
relay.LONGEST_REQUEST = 2.5
relay.PAUSES = (0.2, 1.5)
relay.HEARTBEAT = 1.0
relay.SLOW = 0.5
events_api.ANSWERED_WITHIN = 1.5
events_api.TIMEOUT = events_api.httpx.Timeout(1.0, connect=1.0, pool=1.0)
supervisor.MAX_BACKOFF = 1.0
server.MAX_RECEIPTS = 10_000_000  # the checker wants to see them all


def main() -> None:
    command = sys.argv[1]
    if command == "serve":
        logs.set_up("text", os.environ.get("LOG_LEVEL", "INFO"))
        sys.exit(supervisor.Supervisor(commands.main).run())
    if command == "sandbox":
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server.serve(int(sys.argv[2]))
    commands.main([command])


if __name__ == "__main__":
    main()
