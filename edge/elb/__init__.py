"""Decisions of the elb tier that need no socket and no clock: states, weights, log lines."""
