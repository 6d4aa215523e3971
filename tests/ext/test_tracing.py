"""X-Amzn-Trace-Id and what else a recipe with an elb does to a request's fields."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ext.forward import Recipe, request_for_test
from tests.ext.recipes import CLIENT, PLAIN, get

ID = r"1-[0-9a-f]{8}-[0-9a-f]{24}"
ALB = {"drop_invalid_header_fields": False, "preserve_host_header": False}


def alb(**changes: Any) -> Recipe:
    return Recipe([PLAIN | {"alb": ALB | changes}])


def sent(*fields: bytes, recipe: Recipe | None = None, host: bytes = b"Host: h") -> list[bytes]:
    made = request_for_test(get(*fields, host=host), recipe or alb(), CLIENT)
    return made.split(b"\r\n")[1:-2]


def traces(*fields: bytes) -> list[str]:
    return [
        line.decode().split(": ", 1)[1]
        for line in sent(*fields)
        if line.lower().startswith(b"x-amzn-trace-id:")
    ]


@pytest.mark.parametrize(
    ("received", "pattern"),
    [
        ([], f"Root={ID}"),
        ([b"Root=1-5759e988-bd862e3fe1be46a994272793"],
         f"Self={ID};Root=1-5759e988-bd862e3fe1be46a994272793"),
        ([b"Self=1-1-1;Root=1-2-2;a=b"], f"Self={ID};Root=1-2-2;a=b"),
        ([b"Root=1-2-2;Self=1-1-1;a=b"], f"Self={ID};Root=1-2-2;a=b"),
        ([b"root=1-2-2; CalledFrom=app"], f"Self={ID};root=1-2-2;CalledFrom=app"),
        ([b"CalledFrom=app"], f"Root={ID};CalledFrom=app"),
        ([b""], f"Root={ID}"),
        ([b";;"], f"Root={ID}"),
        ([b"Root=1-2-2", b"Root=1-3-3"], f"Self={ID};Root=1-2-2"),
    ],
)  # fmt: skip
def test_trace_id(received: list[bytes], pattern: str) -> None:
    [value] = traces(*(b"X-Amzn-Trace-Id: " + each for each in received))
    assert re.fullmatch(pattern, value), value


def test_long_heads_lose_theirs() -> None:
    [value] = traces(b"X-Amzn-Trace-Id: Root=1-2-2", b"X: " + b"a" * 7200)
    assert re.fullmatch(f"Root={ID}", value)


def test_each_request_has_its_own() -> None:
    recipe = alb()
    made = {tuple(sent(recipe=recipe)) for _ in range(100)}
    assert len(made) == 100


@pytest.mark.parametrize(
    ("host", "plain", "preserved"),
    [
        (b"shop.test", b"shop.test", b"shop.test"),
        (b"shop.test:80", b"shop.test", b"shop.test:80"),
        (b"shop.test:443", b"shop.test", b"shop.test:443"),
        (b"shop.test:8080", b"shop.test:8080", b"shop.test:8080"),
        (b"[::1]:80", b"[::1]", b"[::1]:80"),
    ],
)
def test_host_loses_the_port_of_its_scheme(host: bytes, plain: bytes, preserved: bytes) -> None:
    field = b"Host: " + host
    assert sent(host=field)[0] == b"Host: " + plain
    kept = alb(preserve_host_header=True)
    assert sent(host=field, recipe=kept)[0] == b"Host: " + preserved


def test_invalid_names_are_dropped_where_asked() -> None:
    fields = (b"X_Odd: 1", b"X.Odd: 2", b"X-Fine-9: 3")
    assert set(fields) <= set(sent(*fields))
    dropped = sent(*fields, recipe=alb(drop_invalid_header_fields=True))
    assert fields[2] in dropped
    assert not set(fields[:2]) & set(dropped)


def test_without_an_elb_nothing_of_this() -> None:
    recipe = Recipe([PLAIN])
    field = b"X-Amzn-Trace-Id: Root=1-2-2"
    assert sent(field, recipe=recipe, host=b"Host: h:80") == [b"Host: h:80", field]
