"""One web node of an Adobe Commerce shop, as far as a CDN and a load balancer can tell.

    python -m edge.demo.shop --name node1 --listen 127.0.0.1:9001      (or --fd N)

Each node is a process of its own, so that it can be killed. `make_app` builds the same application
for tests. The pages are small; what is true to the original is what the tiers in front react to:
cache headers, tags, cookies, redirects, conditional requests on static files, slow pages.

Invariants: a page that may be cached is the same for everybody (nothing of the visitor is in it);
every answer carries `X-Node`; a node keeps no visitor's state. A real cluster shares sessions
through Redis; here the cart travels in a cookie, so any node can answer any request.

Source: Magento\\Framework\\App\\Response\\Http writes the cache headers (public: `Pragma: cache`,
Expires ahead; private: Expires a year ago). fastly/magento2 1.2.247 shortens the tags, splits them
by spaces and appends `stale-while-revalidate` and `stale-if-error`. nginx.conf.sample of Magento 2
serves static files with two Cache-Control lines.
"""

import argparse
import asyncio
import hashlib
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from aiohttp import web

from edge import clock
from edge.demo import pages
from edge.demo.catalog import (
    CATEGORY_BY_KEY,
    PRODUCT_BY_KEY,
    PRODUCT_BY_NUMBER,
    build_picture,
    category_tags,
    home_tags,
    product_tags,
)
from edge.demo.pages import Origin
from edge.settings.address import split_address

PAGE_TTL_S = 86_400
STATIC_TTL_S = 31_536_000
YEAR_S = 31_536_000
COOKIE_TTL_S = 3600  # Stores > Configuration > Web > Default Cookie Settings
VERSION_COOKIE_TTL_S = 315_360_000  # ten years, as Magento\Framework\App\PageCache\Version has it
SLOW_MS_MAX = 600_000
SLOW_MS_DEFAULT = 3000
QUANTITY_MAX = 99
CART_COOKIE = "demo_cart"
MODULE_VERSION = "1.2.247"
DEPLOYED_AT_S = pages.STATIC_VERSION

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

NO_PHP = ("/static/", "/media/", "/health_check.php")  # paths without a session
SLASH = "{slash:/?}"  # the original's router does not care about it


def make_app(node_name: str) -> web.Application:
    """The application of one node."""
    shop = Shop(node_name)
    app = web.Application(middlewares=[open_session])
    app.on_response_prepare.append(shop.on_answer)
    app.add_routes(
        [
            web.get("/", shop.get_home),
            web.get("/static/{version:version\\d+}/{path:.+}", shop.get_static),
            web.get("/media/catalog/product/{key}.png", shop.get_picture),
            web.get("/health_check.php", shop.get_health),
            web.get("/slow" + SLASH, shop.get_slow),
            web.get("/checkout" + SLASH, shop.get_checkout),
            web.get("/checkout/cart" + SLASH, shop.get_cart),
            web.post("/checkout/cart/add" + SLASH, shop.post_cart_add),
            web.get("/customer/section/load" + SLASH, shop.get_sections),
            web.get("/customer/account" + SLASH, shop.get_account),
            web.post("/customer/account/loginPost" + SLASH, shop.post_login),
            web.get("/graphql", shop.get_graphql),
            web.post("/graphql", shop.post_graphql),
            web.get("/admin{tail:(/.*)?}", shop.get_admin),
            web.get("/{key}.html", shop.get_listed),
            web.route("*", "/{tail:.*}", shop.get_missing),
        ]
    )
    return app


class Shop:
    """The handlers of one node; they share its name and the number of its answers."""

    def __init__(self, node_name: str) -> None:
        self._node = node_name
        self._answers = 0

    async def on_answer(self, request: web.Request, answer: web.StreamResponse) -> None:
        """What every answer of the original carries, and the name of the node."""
        answer.headers["X-Node"] = self._node
        answer.headers["Server"] = "nginx"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["X-Frame-Options"] = "SAMEORIGIN"
        if not request.path.startswith(NO_PHP):
            answer.headers["X-XSS-Protection"] = "1; mode=block"

    def _next_origin(self) -> Origin:
        self._answers += 1
        return Origin(self._node, self._answers)

    # Pages that everybody shares.

    async def get_home(self, _request: web.Request) -> web.Response:
        return _public_page(pages.build_home(self._next_origin()), home_tags())

    async def get_listed(self, request: web.Request) -> web.Response:
        """A category or a product, by its URL key."""
        key = request.match_info["key"]
        if category := CATEGORY_BY_KEY.get(key):
            text = pages.build_category(category, self._next_origin())
            return _public_page(text, category_tags(category))
        if product := PRODUCT_BY_KEY.get(key):
            text = pages.build_product(product, self._next_origin())
            return _public_page(text, product_tags(product))
        return await self.get_missing(request)

    async def get_missing(self, _request: web.Request) -> web.Response:
        """The 404 page: a CMS page, cacheable like any other."""
        text = "The page you requested was not found. Go back or start at the home page."
        page = pages.build_text("404 Not Found", text, self._next_origin())
        return _public_page(page, "store cpg1", status=404)

    # Pages of one visitor.

    async def get_cart(self, request: web.Request) -> web.Response:
        return _private_page(pages.build_cart(read_cart(request), self._next_origin()))

    async def get_checkout(self, request: web.Request) -> web.Response:
        """The checkout, or back to the cart while that is empty."""
        if not read_cart(request):
            return _redirect("/checkout/cart/")
        text = "Shipping, payment, review: the demo ends here."
        return _private_page(pages.build_text("Checkout", text, self._next_origin()))

    async def post_cart_add(self, request: web.Request) -> web.Response:
        """Adds `product` (number) `qty` times and leads to the cart; an unknown product to home."""
        form = await request.post()
        product, quantity = str(form.get("product", "")), str(form.get("qty", "1"))
        if not _is_number(product) or int(product) not in PRODUCT_BY_NUMBER:
            return _redirect("/")
        cart = read_cart(request)
        wanted = int(quantity) if _is_number(quantity) else 1
        cart[int(product)] = min(cart.get(int(product), 0) + wanted, QUANTITY_MAX)
        answer = _redirect("/checkout/cart/")
        _set_session_cookie(answer, CART_COOKIE, ".".join(f"{n}-{q}" for n, q in cart.items()))
        _renew_private_content(answer)
        return answer

    async def get_sections(self, request: web.Request) -> web.Response:
        """The visitor's own data, which the browser puts into pages that everybody shares."""
        cart = read_cart(request)
        data_id = int(clock.wall())
        items = [{"product_id": str(number), "qty": qty} for number, qty in cart.items()]
        sections: dict[str, object] = {
            "cart": {"summary_count": sum(cart.values()), "items": items, "data_id": data_id},
            "customer": {"fullname": "", "firstname": "", "data_id": data_id},
            "node": {"name": self._node, "data_id": data_id},
        }
        if asked := request.query.get("sections"):
            sections = {name: sections[name] for name in asked.split(",") if name in sections}
        answer = web.json_response(sections, headers=private_headers())
        if "mage-cache-sessid" not in request.cookies:
            # In a browser the storefront's script sets it; a client without scripts gets it here.
            _set_session_cookie(answer, "mage-cache-sessid", "true")
        return answer

    async def get_account(self, request: web.Request) -> web.Response:
        vary = request.cookies.get("X-Magento-Vary", "")
        text = f"Customer segment {vary[:8]}." if vary else "You are not signed in."
        return _private_page(pages.build_text("My Account", text, self._next_origin()))

    async def post_login(self, request: web.Request) -> web.Response:
        """Signs everybody in: from now on the visitor sees the pages of another segment."""
        await request.read()
        answer = _redirect("/customer/account/")
        segment = hashlib.sha256(b'{"customer_group":"1","customer_logged_in":true}').hexdigest()
        _set_session_cookie(answer, "X-Magento-Vary", segment, httponly=True)
        _renew_private_content(answer)
        return answer

    async def get_admin(self, _request: web.Request) -> web.Response:
        text = "Sign in with your account of this shop."
        return _private_page(pages.build_text("Admin", text, self._next_origin()))

    async def get_slow(self, request: web.Request) -> web.Response:
        """Answers after `ms` milliseconds: a report, an export, a page that somebody forgot."""
        asked = request.query.get("ms", str(SLOW_MS_DEFAULT))
        if not _is_number(asked) or int(asked) > SLOW_MS_MAX:
            return web.Response(status=400, text=f"ms is a whole number up to {SLOW_MS_MAX}\n")
        await asyncio.sleep(int(asked) / 1000)
        text = f"This page took {asked} ms."
        return _private_page(pages.build_text("Slow Page", text, self._next_origin()))

    # GraphQL.

    async def get_graphql(self, request: web.Request) -> web.Response:
        """A query in the URL: may be cached, with the key that the answer names."""
        if "query" not in request.query:
            return self._graphql_refusal()
        headers = public_headers(" ".join(f"p{number}" for number in PRODUCT_BY_NUMBER))
        store = request.headers.get("Store", "default")
        currency = request.headers.get("Content-Currency", "USD")
        cache_id = hashlib.sha256(f"{store}|{currency}".encode()).hexdigest()
        return self._graphql_answer({**headers, "X-Magento-Cache-Id": cache_id})

    async def post_graphql(self, request: web.Request) -> web.Response:
        """Any operation in the body: never cached."""
        if not await request.read():
            return self._graphql_refusal()
        return self._graphql_answer(private_headers())

    def _graphql_answer(self, headers: dict[str, str]) -> web.Response:
        items = [{"sku": p.key, "name": p.name} for p in PRODUCT_BY_KEY.values()]
        extensions = {"node": self._node, "answer": self._next_origin().answers}
        data = {"products": {"total_count": len(items), "items": items}}
        return web.json_response({"data": data, "extensions": extensions}, headers=headers)

    def _graphql_refusal(self) -> web.Response:
        errors = [{"message": "Syntax Error: Unexpected <EOF>"}]
        return web.json_response({"errors": errors}, status=400, headers=private_headers())

    # Files and probes.

    async def get_static(self, request: web.Request) -> web.Response:
        """Deployed files. The version in the path is for browsers; nginx drops it."""
        found = STATIC_FILES.get(request.match_info["path"])
        if found is None:
            return web.Response(status=404, text="404 Not Found\n")
        return _file(request, *found)

    async def get_picture(self, request: web.Request) -> web.Response:
        product = PRODUCT_BY_KEY.get(request.match_info["key"])
        if product is None:
            return web.Response(status=404, text="404 Not Found\n")
        return _file(request, "image/png", build_picture(product.colour))

    async def get_health(self, _request: web.Request) -> web.Response:
        return web.Response(text="OK\n", headers=private_headers())


STATIC_FILES = {
    "frontend/css/styles.css": ("text/css", pages.STYLE.encode()),
    "frontend/js/storefront.js": ("application/javascript", pages.SCRIPT.encode()),
    "frontend/images/logo.png": ("image/png", build_picture((25, 121, 195))),
}


def public_headers(tags: str) -> dict[str, str]:
    """The headers of a page that may be cached."""
    return {
        "Cache-Control": f"max-age={PAGE_TTL_S}, public, s-maxage={PAGE_TTL_S}, "
        f"stale-while-revalidate={PAGE_TTL_S}, stale-if-error={PAGE_TTL_S}",
        "Expires": formatdate(clock.wall() + PAGE_TTL_S, usegmt=True),
        "Pragma": "cache",
        "X-Magento-Tags": tags,
        "Fastly-Module-Enabled": MODULE_VERSION,
    }


def private_headers() -> dict[str, str]:
    """The headers of a page that nobody may keep."""
    return {
        "Cache-Control": "max-age=0, must-revalidate, no-cache, no-store",
        "Expires": formatdate(clock.wall() - YEAR_S, usegmt=True),
        "Pragma": "no-cache",
    }


def read_cart(request: web.Request) -> dict[int, int]:
    """Product number -> quantity from the cookie; what makes no sense in it is left out."""
    cart: dict[int, int] = {}
    for entry in request.cookies.get(CART_COOKIE, "").split("."):
        number, _, quantity = entry.partition("-")
        if _is_number(number) and _is_number(quantity) and int(number) in PRODUCT_BY_NUMBER:
            cart[int(number)] = min(int(quantity), QUANTITY_MAX)
    return cart


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9


def _public_page(text: str, tags: str, status: int = 200) -> web.Response:
    return web.Response(
        text=text, status=status, content_type="text/html", headers=public_headers(tags)
    )


def _private_page(text: str) -> web.Response:
    answer = web.Response(text=text, content_type="text/html", headers=private_headers())
    _set_session_cookie(answer, "form_key", secrets.token_hex(8))
    return answer


def _redirect(location: str) -> web.Response:
    return web.Response(status=302, headers={**private_headers(), "Location": location})


def _set_session_cookie(
    answer: web.StreamResponse, name: str, value: str, *, httponly: bool = False
) -> None:
    answer.set_cookie(
        name, value, max_age=COOKIE_TTL_S, path="/", httponly=httponly, samesite="Lax"
    )


def _renew_private_content(answer: web.StreamResponse) -> None:
    """Tells the browser that its copy of the visitor's data is out of date; sent after a POST."""
    answer.set_cookie(
        "private_content_version",
        secrets.token_hex(16),
        max_age=VERSION_COOKIE_TTL_S,
        path="/",
        samesite="Lax",
    )


def _file(request: web.Request, content_type: str, content: bytes) -> web.Response:
    """A static file or, where the client has it already, 304 (RFC 9110 §13.1.2)."""
    etag = hashlib.sha1(content, usedforsecurity=False).hexdigest()[:16]
    answer = web.Response(content_type=content_type)
    answer.etag = etag
    answer.last_modified = DEPLOYED_AT_S
    answer.headers["Expires"] = formatdate(clock.wall() + STATIC_TTL_S, usegmt=True)
    answer.headers.add("Cache-Control", f"max-age={STATIC_TTL_S}")
    answer.headers.add("Cache-Control", "public")
    known = request.if_none_match or ()
    if any(tag.value in (etag, "*") for tag in known):
        answer.set_status(304)
    else:
        answer.body = content
    return answer


@web.middleware
async def open_session(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Gives a visitor without a session one, on any page that PHP makes."""
    answer = await handler(request)
    is_wanted = not request.path.startswith((*NO_PHP, "/graphql"))
    if is_wanted and "PHPSESSID" not in request.cookies:
        _set_session_cookie(answer, "PHPSESSID", secrets.token_hex(13), httponly=True)
    return answer


async def serve(app: web.Application, listener: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    print("listening", flush=True)  # what the demo waits for
    await stopped.wait()
    await runner.cleanup()


def open_listener(address: str) -> socket.socket:
    """A listening socket on `host:port`. OSError if the address is taken or is not ours."""
    return socket.create_server(split_address(address))


def main() -> int:
    """One node in the foreground. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="edge.demo.shop", description="One node of a demo shop.")
    parser.add_argument("--name", required=True, help="the name of the node, shown on every page")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--listen", metavar="HOST:PORT")
    where.add_argument("--fd", type=int, help="a listening socket inherited under this number")
    options = parser.parse_args()
    try:
        if options.listen is not None:
            listener = open_listener(options.listen)
        else:
            listener = socket.socket(fileno=options.fd)
    except (OSError, ValueError) as error:
        place = options.listen or f"descriptor {options.fd}"
        print(f"{options.name}: cannot listen on {place}: {error}", file=sys.stderr)
        return 1
    asyncio.run(serve(make_app(options.name), listener))
    return 0


if __name__ == "__main__":
    sys.exit(main())
