"""ext.storing: what an unsafe request's answer names. The rest is seen on the wire."""

import pytest

from ext.storing import same_origin_path


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        (b"/other", b"/other"),
        (b"other?a=1", b"/dir/other?a=1"),
        (b"../up", b"/up"),
        (b"?q", b"/dir/page?q"),
        (b"#part", b"/dir/page"),
        (b"http://shop.test/abs", b"/abs"),
        (b"http://SHOP.test:80/abs", b"/abs"),
        (b"http://shop.test", b"/"),
        (b"//shop.test/net", b"/net"),
        (b"http://other.test/abs", None),
        (b"http://shop.test:81/abs", None),
        (b"https://shop.test/abs", None),
        (b"mailto:a@b", None),
        (b"http://[bad/", None),
    ],
)
def test_rfc9111_4_4_same_origin(reference: bytes, path: bytes | None) -> None:
    assert same_origin_path(b"shop.test", b"/dir/page", reference) == path
