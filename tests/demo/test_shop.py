"""The shop node: its routes, the headers by kind of page, cookies and the cart."""

import asyncio
import zlib
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from aiohttp import DummyCookieJar
from aiohttp.test_utils import TestClient, TestServer

from edge import clock
from edge.demo import catalog, pages
from edge.demo.shop import make_app

pytestmark = pytest.mark.wire

STATIC = pages.STATIC
PUBLIC = "max-age=86400, public, s-maxage=86400, stale-while-revalidate=86400, stale-if-error=86400"
PRIVATE = "max-age=0, must-revalidate, no-cache, no-store"


@dataclass(frozen=True)
class Answer:
    """What a test looks at."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def field(self, name: str) -> str:
        """The one value of a field; an assertion if there is none or more than one."""
        (value,) = self.all(name)
        return value

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    @property
    def cookies(self) -> dict[str, str]:
        pairs = (line.split(";")[0].partition("=") for line in self.all("Set-Cookie"))
        return {name: value for name, _, value in pairs}


def talk(*requests: tuple[str, str], **options: Any) -> list[Answer]:
    """Sends the requests (method, path) one after the other to a new node called `web7`."""

    async def run() -> list[Answer]:
        server = TestServer(make_app("web7"))
        async with TestClient(server, cookie_jar=DummyCookieJar()) as client:
            answers = []
            for method, path in requests:
                got = await client.request(method, path, allow_redirects=False, **options)
                answers.append(Answer(got.status, list(got.headers.items()), await got.read()))
            return answers

    return asyncio.run(run())


def get(path: str, **options: Any) -> Answer:
    return talk(("GET", path), **options)[0]


@pytest.mark.parametrize(
    ("path", "status", "tags"),
    [
        ("/", 200, "store cpg2 p101 p111 p121"),
        ("/women.html", 200, "store c20 p101 p102 p103 p104"),
        ("/juno-jacket.html", 200, "store p102 c20"),
        ("/no-such-page.html", 404, "store cpg1"),
        ("/no/such/page", 404, "store cpg1"),
    ],
)
def test_pages_for_everybody(path: str, status: int, tags: str) -> None:
    answer = get(path)
    assert answer.status == status
    assert answer.field("Cache-Control") == PUBLIC
    assert answer.field("Pragma") == "cache"
    assert answer.field("X-Magento-Tags") == tags
    assert answer.field("Content-Type") == "text/html; charset=utf-8"
    ahead_s = parsedate_to_datetime(answer.field("Expires")).timestamp() - clock.wall()
    assert 86_340 < ahead_s <= 86_400
    assert set(answer.cookies) == {"PHPSESSID"}  # nothing of the visitor but the session
    assert b"form_key" not in answer.body or b'name="form_key" value=""' in answer.body


@pytest.mark.parametrize(
    "path", ["/checkout/cart/", "/checkout/cart", "/customer/account/", "/admin", "/admin/sales/"]
)
def test_pages_of_one_visitor(path: str) -> None:
    answer = get(path)
    assert answer.status == 200
    assert answer.field("Cache-Control") == PRIVATE
    assert answer.field("Pragma") == "no-cache"
    assert parsedate_to_datetime(answer.field("Expires")).timestamp() < clock.wall()
    assert answer.all("X-Magento-Tags") == []
    assert set(answer.cookies) == {"PHPSESSID", "form_key"}


@pytest.mark.parametrize(
    "path", ["/", "/admin", "/health_check.php", f"{STATIC}/none.css", "/checkout/", "/graphql"]
)
def test_every_answer_names_its_node(path: str) -> None:
    answer = get(path)
    assert answer.field("X-Node") == "web7"
    assert answer.field("X-Frame-Options") == "SAMEORIGIN"
    assert answer.field("X-Content-Type-Options") == "nosniff"
    assert answer.field("Server") == "nginx"


def test_pages_show_node_and_count() -> None:
    first, second = talk(("GET", "/women.html"), ("GET", "/women.html"))
    assert b"Made by web7, answer 1 of" in first.body
    assert b"Made by web7, answer 2 of" in second.body


def test_head_has_no_body() -> None:
    (answer,) = talk(("HEAD", "/women.html"))
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.field("Content-Length")) > 1000


def test_known_session_gets_no_new_one() -> None:
    assert get("/women.html", headers={"Cookie": "PHPSESSID=abc"}).all("Set-Cookie") == []


def test_cart_is_kept_by_the_visitor() -> None:
    form = {"product": "102", "qty": "2"}
    (added,) = talk(("POST", "/checkout/cart/add/"), data=form)
    assert (added.status, added.field("Location")) == (302, "/checkout/cart/")
    assert added.field("Cache-Control") == PRIVATE
    assert len(added.cookies["private_content_version"]) == 32
    cookie = {"Cookie": f"demo_cart={added.cookies['demo_cart']}"}
    assert b"<td>Juno Jacket</td><td>2</td>" in get("/checkout/cart/", headers=cookie).body
    assert b"Shipping" in get("/checkout/", headers=cookie).body
    (more,) = talk(("POST", "/checkout/cart/add"), data=form, headers=cookie)
    assert more.cookies["demo_cart"] == "102-4"


@pytest.mark.parametrize("product", ["", "999", "x", "-1", "1" * 40])
def test_unknown_product_leads_home(product: str) -> None:
    (answer,) = talk(("POST", "/checkout/cart/add/"), data={"product": product})
    assert (answer.status, answer.field("Location")) == (302, "/")
    assert "demo_cart" not in answer.cookies


@pytest.mark.parametrize("cart", ["", "x", "102", "102-", "999-1", "102-x.-", "102-1" + "0" * 30])
def test_broken_cart_is_an_empty_one(cart: str) -> None:
    answer = get("/checkout/cart/", headers={"Cookie": f"demo_cart={cart}"})
    assert b"You have no items" in answer.body


def test_empty_cart_has_no_checkout() -> None:
    answer = get("/checkout/")
    assert (answer.status, answer.field("Location")) == (302, "/checkout/cart/")


def test_sections_are_the_visitors() -> None:
    cookie = {"Cookie": "demo_cart=102-2.111-1"}
    answer = get("/customer/section/load/?sections=cart,none", headers=cookie)
    assert answer.field("Content-Type") == "application/json; charset=utf-8"
    assert answer.field("Cache-Control") == PRIVATE
    assert b'"summary_count": 3' in answer.body
    assert b"customer" not in answer.body
    assert answer.cookies["mage-cache-sessid"] == "true"


def test_login_changes_the_segment() -> None:
    (answer,) = talk(("POST", "/customer/account/loginPost/"), data={"login": "x"})
    assert answer.status == 302
    assert len(answer.cookies["X-Magento-Vary"]) == 64


def test_graphql_by_get_may_be_cached() -> None:
    query = "/graphql?query={products{items{sku}}}"
    here = get(query)
    assert here.field("Cache-Control") == PUBLIC
    assert here.field("X-Magento-Tags").startswith("p101 p102 ")
    assert here.all("Set-Cookie") == []
    there = get(query, headers={"Store": "fr"})
    assert there.field("X-Magento-Cache-Id") != here.field("X-Magento-Cache-Id")


def test_graphql_by_post_is_never_cached() -> None:
    (answer,) = talk(("POST", "/graphql"), json={"query": "{products{items{sku}}}"})
    assert answer.status == 200
    assert answer.field("Cache-Control") == PRIVATE
    assert b'"Juno Jacket"' in answer.body


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_graphql_without_query_is_refused(method: str) -> None:
    (answer,) = talk((method, "/graphql"))
    assert (answer.status, answer.field("Cache-Control")) == (400, PRIVATE)


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        (f"{STATIC}/frontend/css/styles.css", "text/css"),
        (f"{STATIC}/frontend/js/storefront.js", "application/javascript"),
        (f"{STATIC}/frontend/images/logo.png", "image/png"),
        ("/static/version2/frontend/css/styles.css", "text/css"),
        ("/media/catalog/product/juno-jacket.png", "image/png"),
    ],
)
def test_files(path: str, content_type: str) -> None:
    answer = get(path)
    assert (answer.status, answer.field("Content-Type")) == (200, content_type)
    assert answer.all("Cache-Control") == ["max-age=31536000", "public"]
    assert answer.all("Set-Cookie") == []
    assert answer.field("Last-Modified") == "Tue, 14 Nov 2023 22:13:20 GMT"


def test_rfc9110_13_1_2_known_file_is_not_sent_again() -> None:
    path = f"{STATIC}/frontend/css/styles.css"
    etag = get(path).field("ETag")
    same = get(path, headers={"If-None-Match": etag})
    assert (same.status, same.body, same.field("ETag")) == (304, b"", etag)
    assert get(path, headers={"If-None-Match": '"other"'}).status == 200


@pytest.mark.parametrize("path", [f"{STATIC}/none.css", "/media/catalog/product/none.png"])
def test_missing_files_are_no_pages(path: str) -> None:
    answer = get(path)
    assert (answer.status, answer.all("X-Magento-Tags")) == (404, [])


def test_slow_page_takes_its_time() -> None:
    before = clock.now()
    answer = get("/slow?ms=120")
    assert clock.now() - before >= 0.12
    assert answer.field("Cache-Control") == PRIVATE
    assert b"120 ms" in answer.body


@pytest.mark.parametrize("ms", ["x", "-1", "600001", "1e3"])
def test_slow_page_has_a_limit(ms: str) -> None:
    assert get(f"/slow?ms={ms}").status == 400


def test_health_check() -> None:
    answer = get("/health_check.php")
    assert (answer.status, answer.body) == (200, b"OK\n")
    assert answer.all("Set-Cookie") == []


def test_picture_is_a_png() -> None:
    picture = catalog.build_picture((1, 2, 3))
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert picture.endswith(b"IEND" + zlib.crc32(b"IEND").to_bytes(4, "big"))
    start = picture.index(b"IDAT") + 4
    rows = zlib.decompress(picture[start : picture.index(b"IEND") - 8])
    assert rows == (b"\0" + b"\1\2\3" * 240) * 240


def test_foreign_text_is_escaped() -> None:
    page = pages.build_text("<b>", "a & <script>", pages.Origin("<node>", 1))
    assert "<script>" not in page.partition("<main>")[2]
    assert "&lt;node&gt;" in page
