"""The configuration: pydantic models, one module per tier, and the YAML loader.

The way of a file: `document` (YAML to values with lines) -> models (`root` and what it names) and
`conflicts` (what holds between keys) -> `loader`. The names below are the package's front.
"""

from edge.settings.cdn import Cdn
from edge.settings.elb import Elb
from edge.settings.haproxy import Haproxy
from edge.settings.health_check import HealthCheck
from edge.settings.json_schema import schema
from edge.settings.loader import load
from edge.settings.node import Node
from edge.settings.root import Admin, Settings
from edge.settings.tcp import Tcp
from edge.settings.tier import Forwarded, Limits, Tier, Timeouts

__all__ = [
    "Admin",
    "Cdn",
    "Elb",
    "Forwarded",
    "Haproxy",
    "HealthCheck",
    "Limits",
    "Node",
    "Settings",
    "Tcp",
    "Tier",
    "Timeouts",
    "load",
    "schema",
]
