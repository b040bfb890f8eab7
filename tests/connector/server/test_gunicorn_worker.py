"""Connections that come at once are accepted at once, on the event loop of a worker."""

import asyncio
import socket

import pytest
import uvicorn

from connector.server.gunicorn_worker import ACCEPTED_AT_ONCE, EventLoopWorker, accepting_several


@pytest.mark.slow
def test_connections_that_wait_are_accepted_in_one_turn_of_the_loop():
    """Otherwise a busy loop stores their webhooks one by one."""
    turn, began, ended = 0, [], asyncio.Event()

    async def app(scope, receive, send):
        if scope["type"] == "http":
            began.append(turn)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})
            if len(began) == ACCEPTED_AT_ONCE:
                ended.set()

    async def serve():
        loop = asyncio.get_running_loop()

        def count():
            nonlocal turn
            turn += 1
            if not ended.is_set():
                loop.call_soon(count)

        settings = EventLoopWorker.CONFIG_KWARGS | {"lifespan": "off", "log_config": None, "callback_notify": None}
        server = uvicorn.Server(uvicorn.Config(app, **settings))
        count()
        serving = asyncio.create_task(server.serve(accepting_several([listening])))
        await asyncio.wait_for(ended.wait(), 60)
        server.should_exit = True
        for connection in waiting:
            connection.close()
        await serving

    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        waiting = [socket.create_connection(listening.getsockname()) for _ in range(ACCEPTED_AT_ONCE)]
        for connection in waiting:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        uvloop = uvicorn.Config(app, loop="uvloop").get_loop_factory()
        with asyncio.Runner(loop_factory=uvloop) as runner:
            runner.run(serve())
    assert max(began) - min(began) <= 3
