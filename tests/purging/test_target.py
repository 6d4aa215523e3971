"""edge.purging.target: a URL's objects at every site, the shield's first."""

from tests.purging.standin import StoreBook, target


def test_a_url_goes_at_the_shield_before_the_edge() -> None:
    store = StoreBook()
    assert target(store, "FRA", "IAD").purge_url(b"shop.test", b"/a?b", soft=True) == 2
    assert store.calls == [
        ("url", b"IAD|shop.test|/a?b", True),
        ("url", b"FRA|shop.test|/a?b", True),
    ]


def test_keys_and_all_are_of_the_whole_store() -> None:
    store = StoreBook()
    target(store, "FRA", "IAD").purge_keys([b"a", b"b"], soft=False)
    target(store, "FRA", "IAD").purge_all()
    assert store.calls == [("keys", [b"a", b"b"], False), ("all",)]
