"""edge.control.elb.xml: AWS's Query protocol, both ways."""

import pytest

from edge.control.elb.xml import ApiError, answer, element, parameters, refusal


def test_lists_and_mappings() -> None:
    pairs = [
        ("Action", "X"),
        ("Targets.member.2.Id", "b"),
        ("Targets.member.10.Id", "c"),
        ("Targets.member.1.Id", "a"),
        ("Targets.member.1.Port", "80"),
        ("Names.member.1", "edge"),
        ("Empty.member", ""),
        ("Deep.Inner.Value", "1"),
    ]
    assert parameters(pairs) == {
        "Action": "X",
        "Targets": [{"Id": "a", "Port": "80"}, {"Id": "b"}, {"Id": "c"}],
        "Names": ["edge"],
        "Empty": [],
        "Deep": {"Inner": {"Value": "1"}},
    }


@pytest.mark.parametrize(
    "pairs",
    [
        [("A", "1"), ("A.member.1", "2")],
        [("A.member.1", "2"), ("A", "1")],
        [("A.member.x", "1")],
        [(".".join("a" * 20), "1")],
    ],
)
def test_what_fits_in_no_way(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(ApiError):
        parameters(pairs)


def test_elements() -> None:
    tree = {"A": "<&>", "B": [1, True, {"C": None, "D": []}], "E": None}
    assert element("R", tree) == (
        "<R><A>&lt;&amp;&gt;</A><B><member>1</member><member>true</member>"
        "<member><D></D></member></B></R>"
    )


def test_answers() -> None:
    made = answer("DoIt", {"X": 1}, "id")
    assert made.startswith('<DoItResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/')
    assert "<DoItResult><X>1</X></DoItResult>" in made
    refused = refusal(ApiError("TargetGroupNotFound", "none"), "id")
    assert "<Type>Sender</Type><Code>TargetGroupNotFound</Code><Message>none</Message>" in refused
