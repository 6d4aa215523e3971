"""edge.settings.document: YAML 1.2 values, and the line of everything."""

import math

import pytest

from edge.errors import ConfigError
from edge.settings.document import Document, KeyPath, nearest, path_text


def values(text: str) -> object:
    document = Document("f.yaml", text)
    assert document.problems == []
    return document.values


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("off", "off"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("true", True),
        ("False", False),
        ("1:30", "1:30"),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("010", 10),
        ("0o10", 8),
        ("0x10", 16),
        ("-3", -3),
        ("1e3", 1000.0),
        ("1.5", 1.5),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("1.2.3", "1.2.3"),
        ('"5"', "5"),
        ("!!str 5", "5"),
        ("~", None),
        ("", None),
        ("null", None),
        ("[1, {a: b}]", [1, {"a": "b"}]),
        ("9" * 31, "9" * 31),
    ],
)
def test_yaml_1_2_core_schema(scalar: str, value: object) -> None:
    document = Document("f.yaml", f"key: {scalar}")
    assert document.values == {"key": value}


def test_not_a_number() -> None:
    (number,) = Document("f.yaml", "key: .nan").values.values()
    assert isinstance(number, float)
    assert math.isnan(number)


def test_keys_are_text() -> None:
    assert values("{8080: a, true: b, ~: c}") == {"8080": "a", "true": "b", "~": "c"}


def test_aliases_repeat_a_value() -> None:
    assert values("a: &x {b: 1}\nc: *x\n") == {"a": {"b": 1}, "c": {"b": 1}}


def test_aliases_of_aliases_stay_small() -> None:
    """Two to the fiftieth values if each alias were unfolded."""
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 50)]
    assert len(Document("f.yaml", "\n".join(lines)).values) == 50


TEXT = """\
# head
cdn:
  listen:
    127.0.0.1:80
  cache: {size: 1,
          max_object: 2}
nodes:
  - name: a

  - {name: b}
"""


@pytest.mark.parametrize(
    ("path", "value_line", "key_line"),
    [
        ((), 2, 2),
        (("cdn",), 2, 2),
        (("cdn", "listen"), 4, 3),
        (("cdn", "cache"), 5, 5),
        (("cdn", "cache", "max_object"), 6, 6),
        (("cdn", "missing"), 2, 2),
        (("missing", "key"), 2, 2),
        (("nodes",), 7, 7),
        (("nodes", 0, "name"), 8, 8),
        (("nodes", 1), 10, 10),
        (("nodes", 1, "web"), 10, 10),
        (("nodes", 2), 7, 7),
    ],
)
def test_lines(path: KeyPath, value_line: int, key_line: int) -> None:
    document = Document("f.yaml", TEXT)
    assert document.problem(path, "x").line == value_line
    assert document.problem(path, "x", at_key=True).line == key_line


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3: a: is given twice, first on line 1; keep one"),
        (
            "n:\n- {x: 1}\n- x: 1\n  x: 2",
            "f.yaml:4: n[1].x: is given twice, first on line 3; keep one",
        ),
        ("a: 1\n? [b]\n: c", "f.yaml:2: a key must be text, not a list or a mapping"),
        (
            "a: 1\nb: !secret x",
            "f.yaml:2: b: has the unknown YAML tag '!secret'; leave the tag out",
        ),
        ("a: !!int x", "f.yaml:1: a: is no valid int: 'x'"),
        ("a: !!bool maybe", "f.yaml:1: a: is no valid bool: 'maybe'"),
        ("a: &x\n  b: *x", "f.yaml:2: a.b: is an alias of what it stands in"),
    ],
)
def test_problems_of_the_document(text: str, problem: str) -> None:
    document = Document("f.yaml", text)
    assert problem in list(map(str, document.problems))


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1\nb: [1,\n", "f.yaml:3: ", "is not valid YAML: while parsing a flow"),
        ("a: 1\n\tb: 2", "f.yaml:2: ", r"is not valid YAML: .*'\\t' that cannot start any token"),
        ("a: 1\nb: 2: 3", "f.yaml:2: ", "is not valid YAML: mapping values are not allowed"),
        ("a: *nowhere", "f.yaml:1: ", "is not valid YAML: found undefined alias"),
        ("a: 1\n---\nb: 2", "f.yaml:2: ", "is not valid YAML: expected a single document"),
        ("a: 1\nb: \x00", "f.yaml:2: ", "the character .* may not stand in YAML"),
        ("", "f.yaml:1: ", "is empty: it needs `nodes`"),
        ("# only a comment\n", "f.yaml:1: ", "is empty: it needs `nodes`"),
        ("---\n", "f.yaml:1: ", "is empty: it needs `nodes`"),
        ("# head\n- a\n", "f.yaml:2: ", "must be a mapping of keys such as `nodes:`, not a list"),
        ("just text", "f.yaml:1: ", "must be a mapping of keys such as `nodes:`, not 'just text'"),
        ("[" * 1000, "f.yaml: ", "is nested too deeply"),
    ],
)
def test_what_is_no_mapping_is_refused(text: str, place: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        Document("f.yaml", text)
    assert str(refusal.value).startswith(place)
    assert len(refusal.value.problems) == 1


def test_nearest() -> None:
    assert nearest("listn", ["listen", "limits"]) == "listen"
    assert nearest("LISTEN", ["listen", "limits"]) == "listen"
    assert nearest("xyz", ["listen", "limits"]) is None


def test_path_text() -> None:
    assert path_text(("nodes", 1, "web")) == "nodes[1].web"
    assert path_text(()) == ""
