"""Conditions and ACLs: what they compile to, against a slow reading of the same text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.rules.conditions import Acls, Condition, Test, parse_condition, parse_test
from edge.rules.samples import Names
from edge.rules.words import RuleError
from ext.rulecodes import Fetch, Match
from tests.rules.reference import holds

short = settings(max_examples=300, derandomize=True, deadline=None, database=None)
NAMES = Names({"haproxy": ("n1",), "api": ("n1", "n2")}, ("clients",), 80)
LETTERS = "abcde"


def parse(words: list[str], *lines: str) -> Condition | None:
    acls = Acls()
    for line in lines:
        acls.add(line)
    return parse_condition(words, "request", acls, NAMES)


def evaluate(condition: Condition, true: set[str]) -> bool:
    """With ACLs that compare the constant `str(name)`: true is what is in the set."""
    return condition.unless != any(
        all(any(test.expression.name.decode() in true for test in term.acl) != term.negated
            for term in suite)
        for suite in condition.suites
    )  # fmt: skip


TERM = st.tuples(st.sampled_from(["", "!", "! ", "!!"]), st.sampled_from(LETTERS)).map("".join)
TEXT = st.lists(st.lists(TERM, min_size=1, max_size=4), min_size=1, max_size=4).flatmap(
    lambda suites: st.sampled_from([" or ", " || "]).map(
        lambda word: word.join(" ".join(suite) for suite in suites)
    )
)


@short
@given(TEXT, st.sets(st.sampled_from(LETTERS)), st.booleans())
def test_a_condition_means_what_the_manual_says(text: str, true: set[str], unless: bool) -> None:
    lines = [f"{name} str({name}) -m found" for name in LETTERS]
    condition = parse(["unless" if unless else "if", *text.split()], *lines)
    assert condition is not None
    assert evaluate(condition, true) == (holds(text, true) != unless)


@short
@given(st.lists(st.sampled_from(["if", "a", "!", "or", "||", "{", "}", "-m", "found", "path", "/x",
                                 "str(a)", "-f", "--", ""]), max_size=8))  # fmt: skip
def test_any_words_are_a_condition_or_an_error(words: list[str]) -> None:
    try:
        condition = parse(["if", *words], "a str(a) -m found")
    except RuleError as error:
        assert str(error)
    else:
        assert condition is not None and all(condition.suites)


def test_lines_with_the_same_name_are_one_acl() -> None:
    condition = parse(["if", "twice"], "twice path /a", "twice path_beg /b")
    assert condition is not None
    [[term]] = condition.suites
    assert [test.match for test in term.acl] == [Match.M_STR, Match.M_BEG]


def test_nothing_is_no_condition() -> None:
    assert parse([]) is None


@pytest.mark.parametrize(
    ("words", "right"),
    [
        (["when", "a"], "only `if` or `unless`"),
        (["if"], "ends too early"),
        (["if", "!"], "ends too early"),
        (["if", "a", "or"], "ends too early"),
        (["if", "or", "a"], "nothing in front"),
        (["if", "b"], "names the acl 'b'"),
        (["if", "{", "path", "/x"], "must stand alone"),
        (["if", "{", "}"], "empty acl"),
        (["if", "METH_GETT"], "did you mean METH_GET?"),
    ],
)
def test_mistakes_of_conditions(words: list[str], right: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse(words, "a path /a")
    assert right in str(caught.value)


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ("a", "must be written"),
        ("a/b path /x", "the name 'a/b'"),
        ("or path /x", "a word of conditions"),
    ],
)
def test_mistakes_of_acl_lines(line: str, right: str) -> None:
    with pytest.raises(RuleError) as caught:
        Acls().add(line)
    assert right in str(caught.value)


def one(text: str) -> Test:
    return parse_test(text.split(), "request", NAMES)


def test_flags() -> None:
    test = one("req.hdr(host) -i -m beg -- -a b")
    assert (test.match, test.ignores_case, test.texts) == (Match.M_BEG, True, (b"-a", b"b"))


@pytest.mark.parametrize(
    ("alias", "match", "fetch"),
    [
        ("path_beg", Match.M_BEG, Fetch.F_PATH),
        ("hdr_dom(host)", Match.M_DOM, Fetch.F_HDR),
        ("url_sub", Match.M_SUB, Fetch.F_URL),
        ("cook_end(a)", Match.M_END, Fetch.F_COOKIE),
        ("url_param_reg(a)", Match.M_REG, Fetch.F_URL_PARAM),
        ("base_dir", Match.M_DIR, Fetch.F_BASE),
    ],
)
def test_older_keywords(alias: str, match: Match, fetch: Fetch) -> None:
    test = one(f"{alias} x")
    assert (test.match, test.expression.fetch) == (match, fetch)


LOW, HIGH = -(2**63), 2**63 - 1


@pytest.mark.parametrize(
    ("values", "ranges"),
    [
        ("5", [(5, 5)]),
        ("gt 5", [(6, HIGH)]),
        ("ge 5 6", [(5, HIGH), (6, HIGH)]),
        ("lt 5 eq 7", [(LOW, 4), (7, 7)]),
        ("le -5", [(LOW, -5)]),
        ("1:3 :0 9:", [(1, 3), (LOW, 0), (9, HIGH)]),
    ],
)
def test_ranges(values: str, ranges: list[tuple[int, int]]) -> None:
    assert list(one(f"nbsrv(api) {values}").ranges) == ranges


def test_networks() -> None:
    mapped = bytes(10) + b"\xff\xff"
    assert one("src 10/8 10.1.2.3 2001:db8::/32").networks == (
        (mapped + b"\x0a\0\0\0", 104),
        (mapped + b"\x0a\x01\x02\x03", 128),
        (b"\x20\x01\x0d\xb8" + bytes(12), 32),
    )


def test_values_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "bots"
    file.write_text("# known\none two\n\n  three \n")
    assert one(f"hdr(user-agent) -f {file} four").texts == (b"one two", b"three", b"four")


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("path", "no value to compare with"),
        ("path -m found /x", "takes no values"),
        ("path -m bgn /x", "has -m bgn; did you mean beg?"),
        ("path -x /x", "has the flag -x"),
        ("path -m", "without its value"),
        ("path -f /nonexistent", "cannot read '/nonexistent'"),
        ("src 10.0.0.300", "write an address"),
        ("nbsrv(api) gt", "without a number"),
        ("nbsrv(api) gt 1:2", "stands alone"),
        ("nbsrv(api) x", "a whole number"),
        ("path_reg (", "the regular expression '('"),
        ("path_reg (?i)x", "not POSIX"),
        ("status 200", "not at hand here"),
        ("pth /x", "no fetch `pth`; did you mean path?"),
        ("nbsrv(apii) 1", "did you mean api?"),
        ("srv_is_up(api/n3)", "names the server 'n3' of api"),
        ("sc_http_req_rate(3) gt 1", "at most sc0 to sc2"),
        ("hdr() x", "(name) or (name,occurrence)"),
        ("hdr x", "(name) or (name,occurrence)"),
        ("path,lowr /x", "no converter `lowr`; did you mean lower?"),
        ("path,field(1) /x", "`field` must be written"),
        ("hdr(a)x /x", "it takes a comma"),
        ("hdr(a /x", "has no )"),
        ("var(x.y) 1", "write txn.name"),
    ],
)
def test_mistakes_of_tests(text: str, right: str) -> None:
    with pytest.raises(RuleError) as caught:
        one(text)
    assert right in str(caught.value)
