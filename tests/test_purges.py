"""edge.purges: settings arrive where purging needs them."""

import os
import re

from edge.purges import make_purger, purge_access, purge_ids, purge_target
from edge.settings import Cdn
from ext.cachekey import cache_key
from tests.purging.standin import KEY, SERVICE, TOKEN, StoreBook

SETTINGS = Cdn.model_validate(
    {"pop": "AMS", "shield": "IAD", "service": {"id": SERVICE, "tokens": [TOKEN, "second"]}}
)


def test_a_purge_on_the_site() -> None:
    store = StoreBook()
    answer = make_purger(store, SETTINGS, "cache-1-AMS")(b"SHOP.test:80", b"/a?b", [KEY])
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nX-Served-By: cache-1-AMS\r\n" in answer
    assert store.calls == [
        ("url", cache_key(b"IAD", b"shop.test", b"/a?b"), False),
        ("url", cache_key(b"AMS", b"shop.test", b"/a?b"), False),
    ]


def test_every_token_of_the_service_may() -> None:
    access = purge_access(SETTINGS)
    assert access.is_service(SERVICE)
    for token in (TOKEN, "second"):
        assert access.knows([(b"Fastly-Key", token.encode())])


def test_without_a_service_nobody_may() -> None:
    assert not purge_access(Cdn()).knows([KEY])
    answer = make_purger(StoreBook(), Cdn(), "node")(b"shop.test", b"/", [KEY])
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_without_a_shield_there_is_one_site() -> None:
    assert list(purge_target(StoreBook(), Cdn()).pops) == ["FRA"]


def test_ids_name_the_process() -> None:
    assert re.fullmatch(rf"{os.getpid()}-\d{{10}}-1", purge_ids().next())
