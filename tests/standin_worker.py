"""A worker without a data path, for the supervisor's tests: a real process that accepts.

It does what the supervisor expects of a worker (job, ready, drain on SIGTERM) and misbehaves where
its settings say so. On a connection, each line gets an answer: `who` its pid, generation and row;
`die` kills it.
"""

import asyncio
import os
import signal
import socket
import sys

from edge.job import NO_FD, Job, announce_ready, end_with_parent, read_job

TURNS_OF_AN_ACCEPT = 10  # of the loop, from accept to the first line of the handler


async def serve(job: Job) -> None:
    """Answers until SIGTERM, then until the last client has gone."""
    stop = asyncio.Event()
    if job.settings.get("is_deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    clients: set[asyncio.Task[None]] = set()

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        clients.add(task)
        task.add_done_callback(clients.discard)
        while line := await reader.readline():
            if line == b"die\n":
                os.kill(os.getpid(), signal.SIGKILL)
            writer.write(f"{os.getpid()} {job.generation} {job.row}\n".encode())
        writer.close()

    servers = [
        await asyncio.start_server(on_client, sock=socket.socket(fileno=listener.fd))
        for listener in job.listeners
        if listener.fd != NO_FD
    ]
    announce_ready(job.ready_fd)
    if job.settings.get("lives_shortly") and job.row is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    await stop.wait()
    # asyncio 3.11 drops a connection whose acceptance is under way when its server closes.
    for server in servers:
        for listening in server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
    for _ in range(TURNS_OF_AN_ACCEPT):
        await asyncio.sleep(0)
    for server in servers:
        server.close()
    if clients:
        await asyncio.wait(clients)


def main() -> int:
    job = read_job(int(sys.argv[1]))
    end_with_parent(job.supervisor_pid)
    if job.row is not None and job.settings.get("fails_at_start"):
        return 3
    if job.row is not None and job.listeners and job.settings.get("fails_with_sockets"):
        return 4
    if job.row is not None and job.settings.get("hangs_at_start"):
        signal.pause()
    asyncio.run(serve(job))
    return 0


if __name__ == "__main__":
    sys.exit(main())
