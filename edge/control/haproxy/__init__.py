"""HAProxy's run-time interfaces over edge's haproxy tiers: the CLI and the statistics page.

A tier is what HAProxy calls a `listen` section: a frontend and a backend of the tier's name and of
one id; the nodes are its servers. Ids count as HAProxy's do, proxies from 2 and servers from 1, in
the order of the file. What edge does not measure is an empty field, never a number.

Source: HAProxy 2.6 management guide, section 9.
"""
