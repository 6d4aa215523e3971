"""Active health checks: what a state is (machine), how to ask (checks), when (runner)."""
