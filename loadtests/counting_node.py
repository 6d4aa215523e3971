"""A small node for failover.py: answers every request with 200 and says how many it answered.

    python loadtests/counting_node.py PORT NAME

Kept connections, Content-Length answers, `X-Node` and `X-Count` (answers of this process so far).
It waits ANSWER_DELAY_S before each answer, so that a kill finds requests in flight.
"""

from __future__ import annotations

import asyncio
import sys

ANSWER_DELAY_S = 0.005
BODY = b"x" * 1024


class Node(asyncio.Protocol):
    """One connection; requests have no bodies."""

    name = b""
    count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            self.received = self.received.partition(b"\r\n\r\n")[2]
            asyncio.get_running_loop().call_later(ANSWER_DELAY_S, self.answer)

    def answer(self) -> None:
        """One answer; the connection may be gone by now, which asyncio ignores."""
        Node.count += 1
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nCache-Control: no-store\r\n"
            b"X-Node: %s\r\nX-Count: %d\r\n\r\n%s" % (len(BODY), self.name, Node.count, BODY)
        )


async def serve(port: int) -> None:
    """Until killed."""
    server = await asyncio.get_running_loop().create_server(Node, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    Node.name = sys.argv[2].encode()
    asyncio.run(serve(int(sys.argv[1])))
