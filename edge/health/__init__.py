"""Active health checks: what a state is (machine), how to ask (checks, sequence, agent), what a
server makes of it (server), when (runner), what the operator reads (messages)."""
