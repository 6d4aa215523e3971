"""The HTML of the demo shop. Pure: values in, text out; everything foreign is escaped.

Called by `edge.demo.shop`. Every page says which node made it and how many answers that node has
given, so that a cached page, a balanced one and a failover can be told apart by looking.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

from edge.demo.catalog import CATEGORIES, PRODUCT_BY_NUMBER, Category, Product

STATIC_VERSION = 1700000000  # Adobe Commerce puts the time of deployment here
STATIC = f"/static/version{STATIC_VERSION}"

STYLE = """\
:root { --ink: #222; --soft: #767676; --line: #e3e3e3; --accent: #1979c3 }
* { box-sizing: border-box }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: var(--ink) }
header, main, footer { max-width: 60rem; margin: auto; padding: 1rem }
header { display: flex; gap: 1.5rem; align-items: baseline; border-bottom: 1px solid var(--line) }
header .logo { font-weight: 700; font-size: 1.3rem }
header .cart { margin-left: auto }
a { color: inherit; text-decoration: none } a:hover { color: var(--accent) }
h1 { font-weight: 300 }
.goods { display: grid; grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); gap: 1.5rem }
.goods img { width: 100%; height: auto } .goods a { display: block }
.price { font-weight: 700 }
button { font: inherit; color: #fff; background: var(--accent); border: 0; padding: .6rem 1.2rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .5rem; border-bottom: 1px solid var(--line) }
footer { color: var(--soft); border-top: 1px solid var(--line); font-size: .85rem }
"""

# What the storefront's own script does for the cache: the form key and the visitor's data are never
# part of a page that is shared, the browser adds both.
SCRIPT = """\
const cookie = name => (document.cookie.match(new RegExp('(?:^|; )' + name + '=([^;]*)')) || [])[1];
if (!cookie('form_key')) {
  document.cookie = 'form_key=' + Math.random().toString(36).slice(2).padEnd(16, '0').slice(0, 16)
    + '; path=/; SameSite=Lax';
}
for (const field of document.querySelectorAll('input[name=form_key]')) {
  field.value = cookie('form_key');
}
fetch('/customer/section/load/?sections=cart,customer').then(r => r.json()).then(data => {
  const count = document.getElementById('cart-count');
  if (count) count.textContent = data.cart.summary_count;
});
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who made a page: the node and its running number of answers."""

    node: str
    answers: int


def build_page(title: str, body: str, origin: Origin) -> str:
    """A whole document around `body`, which is HTML already."""
    menu = "".join(f'<a href="/{c.key}.html">{escape(c.name)}</a>' for c in CATEGORIES)
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="stylesheet" href="{STATIC}/frontend/css/styles.css">
<script src="{STATIC}/frontend/js/storefront.js" defer></script>
</head>
<body>
<header><a class="logo" href="/">Demo Shop</a>{menu}
<a class="cart" href="/checkout/cart/">Cart (<span id="cart-count">0</span>)</a></header>
<main>
<h1>{escape(title)}</h1>
{body}
</main>
<footer>Made by {escape(origin.node)}, answer {origin.answers} of this node.</footer>
</body>
</html>
"""


def build_goods(products: Iterable[Product]) -> str:
    """The grid of a home or category page."""
    cards = "".join(
        f'<div><a href="/{p.key}.html"><img src="/media/catalog/product/{p.key}.png" alt="" '
        f'width="240" height="240">{escape(p.name)}</a><span class="price">{p.price}</span></div>\n'
        for p in products
    )
    return f'<div class="goods">\n{cards}</div>'


def build_home(origin: Origin) -> str:
    """One product of each category."""
    return build_page("Home Page", build_goods(c.products[0] for c in CATEGORIES), origin)


def build_category(category: Category, origin: Origin) -> str:
    """All products of a category."""
    return build_page(category.name, build_goods(category.products), origin)


def build_product(product: Product, origin: Origin) -> str:
    """A product with its form; the script fills in the form key."""
    body = f"""\
<div class="goods"><img src="/media/catalog/product/{product.key}.png" alt=""></div>
<p class="price">{product.price}</p>
<form method="post" action="/checkout/cart/add/">
<input type="hidden" name="product" value="{product.number}">
<input type="hidden" name="form_key" value="">
<label>Quantity <input name="qty" type="number" min="1" max="99" value="1"></label>
<button>Add to Cart</button>
</form>"""
    return build_page(product.name, body, origin)


def build_cart(cart: Mapping[int, int], origin: Origin) -> str:
    """The cart, product number -> quantity."""
    if not cart:
        return build_page("Shopping Cart", "<p>You have no items in your cart.</p>", origin)
    rows = "".join(
        f"<tr><td>{escape(PRODUCT_BY_NUMBER[number].name)}</td><td>{quantity}</td>"
        f"<td>{PRODUCT_BY_NUMBER[number].price}</td></tr>\n"
        for number, quantity in cart.items()
    )
    body = (
        f"<table>\n<tr><th>Item</th><th>Quantity</th><th>Price</th></tr>\n{rows}</table>\n"
        '<p><a href="/checkout/"><button>Proceed to Checkout</button></a></p>'
    )
    return build_page("Shopping Cart", body, origin)


def build_text(title: str, text: str, origin: Origin) -> str:
    """A page of one paragraph."""
    return build_page(title, f"<p>{escape(text)}</p>", origin)
