"""Visitors of the demo shop, for Locust: they browse, look at a product, and sometimes buy.

    python -m edge demo &
    locust -f loadtests/shop.py --headless -u 50 -r 10 -t 60s --host http://127.0.0.1:8080

FastHttpUser, since requests' own client would be what is measured. A page counts as good only when
it is the page that was asked for; a redirect after the cart's POST is followed, as browsers do.
"""

from locust import FastHttpUser, between, task

CATEGORIES = ("women", "men", "gear")
PRODUCTS = ("breathe-easy-tank", "juno-jacket", "argus-tank", "hero-hoodie", "driven-backpack")
PRODUCT_NUMBERS = (101, 102, 111, 121)


class Visitor(FastHttpUser):
    """One browser with its cookies."""

    wait_time = between(0.5, 2.0)

    def on_start(self) -> None:
        """Each visitor walks through the lists from a different place."""
        self.step = id(self) // 64

    def next_of(self, choices: tuple) -> object:
        """The next entry; visitors go through all of them, none by chance."""
        self.step += 1
        return choices[self.step % len(choices)]

    def open_page(self, path: str, name: str, expected: str) -> None:
        """A page that must contain `expected`."""
        with self.client.get(path, name=name, catch_response=True) as answer:
            if answer.status_code == 200 and expected not in (answer.text or ""):
                answer.failure(f"{path} is another page")

    @task(3)
    def browse_home(self) -> None:
        """The first page."""
        self.open_page("/", "/", "Demo Shop")

    @task(6)
    def browse_category(self) -> None:
        """A category page."""
        self.open_page(f"/{self.next_of(CATEGORIES)}.html", "/[category]", "Demo Shop")

    @task(8)
    def look_at_product(self) -> None:
        """A product page and its picture."""
        product = self.next_of(PRODUCTS)
        self.open_page(f"/{product}.html", "/[product]", "Add to Cart")
        self.client.get(f"/media/catalog/product/{product}.png", name="/media/[product]")

    @task(1)
    def buy(self) -> None:
        """Puts a product into the cart, then looks at it."""
        form = {"product": str(self.next_of(PRODUCT_NUMBERS)), "qty": "1"}
        self.client.post("/checkout/cart/add/", data=form, name="/checkout/cart/add")
        self.open_page("/checkout/cart/", "/checkout/cart", "Demo Shop")
