"""edge.elb.access_log: a line as AWS documents it."""

from dataclasses import replace
from typing import Any

from edge.elb.access_log import Entry, line

GOOD = Entry(
    time_at=1530569422.186641,
    created_at=1530569422.364,
    elb="app/my-loadbalancer/50dc6c495c0c9188",
    client=("192.168.131.39", 2817),
    target=("10.0.0.1", 80),
    request_s=0.0,
    target_s=0.001,
    response_s=0.0,
    elb_status=200,
    target_status=200,
    received_bytes=34,
    sent_bytes=366,
    method="GET",
    host="www.example.com",
    listener_port=80,
    path="/",
    user_agent="curl/7.46.0",
    target_group_arn="arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/t/73e2d6bc",
    trace_id="Root=1-58337262-36d228ad5d99923122bbe354",
)
# The user guide's example of an HTTP listener.
LINE = (
    "http 2018-07-02T22:10:22.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817"
    ' 10.0.0.1:80 0.000 0.001 0.000 200 200 34 366 "GET http://www.example.com:80/ HTTP/1.1"'
    ' "curl/7.46.0" - - arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/t/73e2d6bc'
    ' "Root=1-58337262-36d228ad5d99923122bbe354" "-" "-" 0 2018-07-02T22:10:22.364000Z "forward"'
    ' "-" "-" "10.0.0.1:80" "200" "-" "-" -'
)


def test_the_guides_example() -> None:
    assert line(GOOD) == LINE


def fields(**changes: Any) -> list[str]:
    return line(replace(GOOD, **changes)).split(" ")


def test_what_never_came_is_minus_one_and_what_is_absent_a_hyphen() -> None:
    made = line(
        replace(GOOD, target=None, request_s=-1.0, target_s=-1.0, response_s=-1.0,
                elb_status=460, target_status=None, user_agent="", actions=("waf", "forward"))
    )  # fmt: skip
    assert " - -1 -1 -1 460 - 34 366 " in made
    assert ' "-" - - arn' in made
    assert ' "waf,forward" "-" "-" "-" "-" "-" "-" -' in made


def test_a_client_cannot_end_a_field_or_a_line() -> None:
    made = line(replace(GOOD, user_agent='a" 200\n\\x', path='/"\r\n'))
    assert "\n" not in made
    assert "\r" not in made
    assert '"a\\x22 200\\x0A\\x5Cx"' in made
    assert ':80/\\x22\\x0D\\x0A HTTP/1.1"' in made


def test_ipv6_and_classification() -> None:
    assert fields(client=("2001:db8::1", 99))[3] == "[2001:db8::1]:99"
    assert fields(classification="Ambiguous", classification_reason="SuspiciousHeader")[-3:] == [
        '"Ambiguous"', '"SuspiciousHeader"', "-",
    ]  # fmt: skip
