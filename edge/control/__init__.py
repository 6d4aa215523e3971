"""The control process: health checks, admin API, metrics. It sees no traffic."""
