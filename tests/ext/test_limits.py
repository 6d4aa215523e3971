"""ext.limits: the relations between sizes, and that the .pyi files tell the values of C."""

import ast
import re
from enum import IntEnum
from pathlib import Path

import pytest
from pydantic import BaseModel

import ext.desync
import ext.freshness
import ext.headers
import ext.limits
import ext.observe
import ext.platform
import ext.proxyline
import ext.retry
import ext.rulecodes
from edge.settings import Limits, Node, Settings
from edge.settings.cdn import CdnLimits
from edge.settings.scalars import Count, Size, Text
from ext.limits import REFUSED_STATUS, Limit, Refused

ROOT = Path(__file__).parents[2]
EXT = ROOT / "ext"
WHEEL_SLOTS = 1024  # ext/timers.pxd
ENUMS = [
    (ext.limits.Limit, "limits"),
    (ext.limits.Refused, "limits"),
    (ext.limits.ServerState, "limits"),
    (ext.limits.AdminState, "limits"),
    (ext.desync.DesyncMode, "desync"),
    (ext.desync.DesyncClass, "desync"),
    (ext.desync.DesyncReason, "desync"),
    (ext.desync.DesyncVerdict, "desync"),
    (ext.freshness.Policy, "freshness"),
    (ext.freshness.Verdict, "freshness"),
    (ext.freshness.NoStore, "freshness"),
    (ext.freshness.Reuse, "freshness"),
    (ext.headers.HeaderId, "headers"),
    (ext.platform.Excess, "platform"),
    (ext.proxyline.BadProxy, "proxyline"),
    (ext.observe.Observed, "observe"),
    (ext.observe.Layer, "observe"),
    (ext.retry.Failure, "retry"),
    (ext.retry.NoRetry, "retry"),
    (ext.retry.RetryOn, "retry"),
    (ext.rulecodes.SampleType, "rulecodes"),
    (ext.rulecodes.Fetch, "rulecodes"),
    (ext.rulecodes.Converter, "rulecodes"),
    (ext.rulecodes.Match, "rulecodes"),
    (ext.rulecodes.Action, "rulecodes"),
    (ext.rulecodes.RedirectFlag, "rulecodes"),
    (ext.rulecodes.Counter, "rulecodes"),
    (ext.rulecodes.RuleLimit, "rulecodes"),
]


def most(model: type[BaseModel], field: str) -> int:
    """The largest value that the configuration lets a field have."""
    for marker in model.model_fields[field].metadata:
        if isinstance(marker, Size):
            return marker.max_bytes
        if isinstance(marker, Count):
            return marker.maximum
    raise AssertionError(f"{field} has no bounds")


# -- one table, two languages -------------------------------------------------------------------


def stub_values(name: str, stub: str) -> dict[str, int | None]:
    """The members of an enum in a .pyi file; None where it leaves the value to C (`...`)."""
    for node in ast.parse((EXT / f"{stub}.pyi").read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return {
                ast.unparse(line.targets[0]): None
                if ast.unparse(line.value) == "..."
                else ast.literal_eval(line.value)
                for line in node.body
                if isinstance(line, ast.Assign)
            }
    raise AssertionError(f"ext/{stub}.pyi has no {name}")


@pytest.mark.parametrize(("enum", "stub"), ENUMS, ids=lambda value: getattr(value, "__name__", ""))
def test_stub_has_the_members_and_values_of_c(enum: type[IntEnum], stub: str) -> None:
    told = stub_values(enum.__name__, stub)
    assert list(told) == list(enum.__members__)
    values = {name: int(member) for name, member in enum.__members__.items()}
    assert {name: value for name, value in told.items() if value is not None} == {
        name: values[name] for name, value in told.items() if value is not None
    }


def test_every_shared_enum_is_compared() -> None:
    declared = {
        (line.split()[2].rstrip(":"), path.stem)
        for path in EXT.glob("*.pxd")
        for line in path.read_text().splitlines()
        if line.startswith("cpdef enum ")
    }
    assert declared == {(enum.__name__, stub) for enum, stub in ENUMS}


def test_every_refusal_has_a_status() -> None:
    assert set(REFUSED_STATUS) == set(Refused)
    special = {reason: status for reason, status in REFUSED_STATUS.items() if status != 400}
    assert special == {
        Refused.REQUEST_LINE_TOO_LONG: 414,  # RFC 9112 §3
        Refused.HEAD_TOO_LONG: 431,  # RFC 6585 §5
        Refused.TOO_MANY_FIELDS: 431,
        Refused.BODY_TOO_LONG: 413,
    }


# -- what the configuration may ask for ---------------------------------------------------------


def test_configured_head_fits_what_the_data_path_takes() -> None:
    assert most(Limits, "header_bytes") <= Limit.HEAD_BYTES_MAX
    assert most(Limits, "header_count") <= Limit.FIELDS_MAX
    assert most(CdnLimits, "header_bytes") <= Limit.HEAD_BYTES_MAX
    assert most(CdnLimits, "header_count") <= Limit.FIELDS_MAX


def test_largest_trailer_section_is_read_before_reading_pauses() -> None:
    """An unfinished one is kept, and too much that is kept stops the reading inside a request."""
    assert most(Limits, "trailer_bytes") <= Limit.PIPELINE_BYTES_MAX


def test_names_of_servers_fit_their_slots() -> None:
    """`haproxy@node/node` with the longest names that a file may have, and the NUL."""
    pattern = next(m.pattern for m in Node.model_fields["name"].metadata if isinstance(m, Text))
    bound = re.search(r"\{0,(\d+)\}$", pattern)
    assert bound is not None
    longest = "n" * (1 + int(bound[1]))
    assert re.fullmatch(pattern, longest)
    assert not re.fullmatch(pattern, longest + "n")
    assert len(f"haproxy@{longest}/{longest}") < Limit.TEXT_BYTES_MAX


def test_rows_suffice_for_two_generations_of_workers() -> None:
    """During a reload the draining workers still count in theirs."""
    assert 2 * most(Settings, "workers") <= Limit.ROWS_MAX


# -- relations between the sizes ----------------------------------------------------------------


def test_head_growth_is_the_sum_of_what_we_add() -> None:
    """All that build_request can add besides the received bytes (ext/forward.pyx), for 4 tiers."""
    tiers, address, pseudonym = 4, 46, 64
    forwarded_for = tiers * (len("X-Forwarded-For: \r\n") + len(", ") + address)
    identity = len("X-Forwarded-Proto: http\r\nX-Forwarded-Host: \r\nX-Forwarded-Port: 65535\r\n")
    via = len("Via: \r\n") + tiers * (len(", 1.1 ") + pseudonym)
    forwarded = len('Forwarded: , for="[]";host="";proto=http\r\n') + address
    line = len("/ HTTP/1.1\r\nHost: \r\n\r\n")
    framing = len("Transfer-Encoding: chunked\r\nContent-Length: 18446744073709551615\r\n")
    upgrade = len("Connection: Upgrade\r\nUpgrade: \r\n")
    fastly = (
        len("Fastly-Client-IP: \r\nFastly-FF: , \r\nFastly-Client: 1\r\nCDN-Loop: , Fastly\r\n")
        + len("Fastly-Cookie-Overflow: 1\r\nFastly-Orig-Accept-Encoding: \r\n")
        + len("Accept-Encoding: gzip\r\nIf-None-Match: \r\nIf-Modified-Since: \r\n")
        + address
        + len(f"{'h' * 44}!FRA!{'n' * 64}")
    )
    needed = forwarded_for + identity + via + forwarded + line + framing + upgrade + fastly
    assert needed <= Limit.HEAD_GROWTH_BYTES


def test_default_head_fits_a_block_with_room_for_a_body() -> None:
    """A request whose head has the usual size is held for replay without a larger block."""
    usual_head_bytes = 2048
    assert usual_head_bytes + Limit.HEAD_GROWTH_BYTES <= Limit.BLOCK_BYTES // 2


def test_server_index_and_tried_count_fit_their_types() -> None:
    assert Limit.SERVERS_MAX <= 2**16  # uint16_t tried[]
    assert Limit.TRIED_MAX <= 16  # the array in Balancer.pick_for_test; uint8_t tried_count
    assert Limit.FIELDS_MAX <= 2**16 - 1  # uint16_t Head.count and upgrade (index + 1)
    assert Limit.METHOD_BYTES_MAX <= Limit.HEAD_BYTES_MAX


def test_chunk_size_digits_hold_64_bits_and_no_more() -> None:
    assert 16**Limit.CHUNK_SIZE_DIGITS_MAX == 2**64


def test_longest_method_fits() -> None:
    """The longest one registered with IANA."""
    assert len("UPDATEREDIRECTREF") <= Limit.METHOD_BYTES_MAX


def test_times_fit_the_wheel() -> None:
    assert Limit.TICK_MS * 50 <= Limit.LINGER_MS <= Limit.TICK_MS * WHEEL_SLOTS


def test_tiers_and_servers_are_of_one_cluster() -> None:
    """cdn, elb and one haproxy a machine; a thousand servers for each of the three kinds."""
    assert Limit.TIERS_MAX >= 2 + 100
    assert Limit.SERVERS_MAX >= 3 * 1000
