"""edge.control.elb.signature against botocore's own signer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from multidict import CIMultiDict

from edge.control.elb.signature import is_signed

auth = pytest.importorskip("botocore.auth")
from botocore.awsrequest import AWSRequest  # noqa: E402
from botocore.credentials import Credentials  # noqa: E402

TOKEN = "open-sesame"
BODY = b"Action=DeregisterTargets&Version=2015-12-01"


def signed(secret: str = TOKEN, query: str = "") -> dict[str, str]:
    """The fields of a request that botocore signs now."""
    url = "http://127.0.0.1:9180/" + (f"?{query}" if query else "")
    request = AWSRequest("POST", url, data=BODY, headers={"Host": "127.0.0.1:9180"})
    auth.SigV4Auth(Credentials("edge", secret), "elasticloadbalancing", "eu-central-1").add_auth(
        request
    )
    return dict(request.headers.items())


def check(headers: dict[str, str], body: bytes = BODY, query: str = "", skew_s: float = 0) -> bool:
    moment = headers.get("X-Amz-Date", "20260101T000000Z")
    at = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    return is_signed(TOKEN, "POST", "/", query, CIMultiDict(headers), body, at + skew_s)


def test_a_good_signature() -> None:
    assert check(signed())
    assert check(signed(query="b=2&a=x%20y"), query="b=2&a=x%20y")


@pytest.mark.parametrize("skew_s", [-301, 301])
def test_an_old_one_and_one_of_the_future(skew_s: float) -> None:
    assert check(signed(), skew_s=skew_s / 301 * 299)
    assert not check(signed(), skew_s=skew_s)


def test_what_is_refused() -> None:
    good = signed()
    assert not check(signed("another"))
    assert not check(good, body=BODY + b"&x=1")
    assert not check(good, query="x=1")
    assert not check({})
    assert not check(good | {"Host": "elsewhere"})
    assert not check(good | {"Authorization": good["Authorization"][:-1] + "0"} | {"X": "1"}) or (
        good["Authorization"].endswith("0")
    )
    bare = good["Authorization"].replace("host;", "")
    assert not check(good | {"Authorization": bare}), "the host must be signed"
