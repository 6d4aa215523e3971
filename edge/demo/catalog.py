"""The goods of the demo shop: three categories, a dozen products, one picture painter.

Pure data and pure functions, used by `edge.demo.pages` and `edge.demo.shop`. Identifiers are
stable, since cache tags are made of them: category 20 tags its pages `c20`, product 101 `p101`.

Source: PNG as in W3C PNG (third edition) §5 and §11.2, enough of it for one plain rectangle.
"""

import struct
import zlib
from dataclasses import dataclass

PICTURE_PX = 240
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BITS_PER_SAMPLE, _TRUECOLOUR = 8, 2


@dataclass(frozen=True, slots=True)
class Product:
    """One article. `colour` paints its picture."""

    number: int
    key: str
    name: str
    price_cents: int
    colour: tuple[int, int, int]

    @property
    def price(self) -> str:
        return f"${self.price_cents // 100}.{self.price_cents % 100:02}"


@dataclass(frozen=True, slots=True)
class Category:
    """One category page and its products, in the order of display."""

    number: int
    key: str
    name: str
    products: tuple[Product, ...]


CATEGORIES = (
    Category(
        20,
        "women",
        "Women",
        (
            Product(101, "breathe-easy-tank", "Breathe-Easy Tank", 3400, (203, 102, 130)),
            Product(102, "juno-jacket", "Juno Jacket", 7700, (122, 82, 160)),
            Product(103, "sylvia-capri", "Sylvia Capri", 4200, (70, 130, 140)),
            Product(104, "diva-gym-tee", "Diva Gym Tee", 3200, (220, 150, 90)),
        ),
    ),
    Category(
        11,
        "men",
        "Men",
        (
            Product(111, "argus-tank", "Argus All-Weather Tank", 2200, (60, 90, 150)),
            Product(112, "lando-jacket", "Lando Gym Jacket", 9900, (50, 60, 70)),
            Product(113, "pierce-short", "Pierce Gym Short", 2700, (160, 60, 50)),
            Product(114, "hero-hoodie", "Hero Hoodie", 5400, (80, 120, 70)),
        ),
    ),
    Category(
        3,
        "gear",
        "Gear",
        (
            Product(121, "driven-backpack", "Driven Backpack", 3600, (90, 80, 60)),
            Product(122, "sprite-yoga-strap", "Sprite Yoga Strap", 1400, (180, 160, 60)),
            Product(123, "didi-sport-watch", "Didi Sport Watch", 9200, (40, 110, 110)),
            Product(124, "quest-water-bottle", "Quest Water Bottle", 1200, (90, 150, 200)),
        ),
    ),
)

CATEGORY_BY_KEY = {category.key: category for category in CATEGORIES}
PRODUCT_BY_KEY = {p.key: p for category in CATEGORIES for p in category.products}
PRODUCT_BY_NUMBER = {product.number: product for product in PRODUCT_BY_KEY.values()}
CATEGORY_OF_PRODUCT = {p.number: category for category in CATEGORIES for p in category.products}


def category_tags(category: Category) -> str:
    """What a category page depends on, as the Fastly module writes it: short, split by spaces."""
    return " ".join(["store", f"c{category.number}", *(f"p{p.number}" for p in category.products)])


def product_tags(product: Product) -> str:
    """What a product page depends on."""
    return f"store p{product.number} c{CATEGORY_OF_PRODUCT[product.number].number}"


def home_tags() -> str:
    """What the home page depends on: the store, its CMS page and the products it shows."""
    return " ".join(["store", "cpg2", *(f"p{c.products[0].number}" for c in CATEGORIES)])


def build_picture(colour: tuple[int, int, int]) -> bytes:
    """A PNG of one colour, PICTURE_PX square."""
    header = struct.pack(">IIBBBBB", PICTURE_PX, PICTURE_PX, _BITS_PER_SAMPLE, _TRUECOLOUR, 0, 0, 0)
    row = b"\0" + bytes(colour) * PICTURE_PX
    return (
        _PNG_SIGNATURE
        + _build_chunk(b"IHDR", header)
        + _build_chunk(b"IDAT", zlib.compress(row * PICTURE_PX, 9))
        + _build_chunk(b"IEND", b"")
    )


def _build_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
