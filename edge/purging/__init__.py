"""Purging as Fastly's interface has it: who may, what is asked for, what is answered.

Two places ask: the data plane (`PURGE` of a URL, `Purger`) and the admin API (keys, all, a URL;
`edge.control.fastly`). What they share is here, so that both refuse and answer alike. The store
does the work (`ext.store`); nothing here knows how.

Sources: Fastly's API reference, "Purging"; its answers as recorded in the tests of its Go client
(github.com/fastly/go-fastly, fastly/fixtures/purges); the VCL of its module for Magento 2 (signed
URL purges). The names below are the package's front.
"""

from edge.purging.access import Access
from edge.purging.answers import Answer, PurgeIds
from edge.purging.purger import Purger
from edge.purging.target import KeyOf, PurgeStore, Target

__all__ = ["Access", "Answer", "KeyOf", "PurgeIds", "PurgeStore", "Purger", "Target"]
