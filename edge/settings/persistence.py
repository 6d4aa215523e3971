"""Cookie persistence of the HAProxy tier: manual 4.2, `cookie` and `option persist`."""

from typing import Annotated, Literal

from pydantic import Field

from edge.settings.scalars import Duration, Text
from edge.settings.section import Section

TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]"
_YEAR_S = 365 * 86_400.0
# Cookie octets of RFC 6265 §4.1.1 without `|` and `~`, which stand behind the value.
VALUE = Text(
    r"[!#-+\x2d-:<-\[\]-{}]{1,64}", "1 to 64 letters, digits and signs, without quotes and | ~ , ;"
)
_ATTRIBUTE = Text(r"[!-:<-~ ]{1,256}", "an attribute such as SameSite=Lax, without `;`")


class Cookie(Section):
    """The `cookie` key: a client goes back to the node whose value its cookie has."""

    name: Annotated[
        str, Text(TOKEN + "{1,64}", "a cookie's name"), Field(description="The cookie's name.")
    ]
    mode: Annotated[
        Literal["insert", "rewrite", "prefix"],
        Field(
            description="insert: a cookie of our own; rewrite: the value of the application's is"
            " replaced; prefix: the node's is put in front of it."
        ),
    ] = "insert"
    indirect: Annotated[
        bool, Field(description="Whether the application does not see our cookie (insert).")
    ] = False
    nocache: Annotated[
        bool, Field(description="Whether an answer that a cache might keep becomes private.")
    ] = False
    postonly: Annotated[
        bool, Field(description="Whether only answers to POST get the cookie (insert).")
    ] = False
    preserve: Annotated[
        bool, Field(description="Whether a cookie of that name from the application is left alone.")
    ] = False
    persist: Annotated[
        bool, Field(description="Whether a node that is down is tried all the same.")
    ] = False
    httponly: Annotated[bool, Field(description="Whether scripts cannot read it.")] = False
    secure: Annotated[bool, Field(description="Whether it is sent over TLS only.")] = False
    domains: Annotated[
        list[Annotated[str, Text(r"\.?[A-Za-z0-9.-]{1,253}", "a domain such as .shop.example")]],
        Field(description="Domains that it is valid for. None: the host that was asked."),
    ] = Field(default_factory=list)
    attributes: Annotated[
        list[Annotated[str, _ATTRIBUTE]], Field(description="Further attributes, as SameSite=Lax.")
    ] = Field(default_factory=list)
    maxidle_s: Annotated[
        float,
        Duration(0, _YEAR_S),
        Field(description="How long it is good for without a request. 0: as long as it comes."),
    ] = 0.0
    maxlife_s: Annotated[
        float,
        Duration(0, _YEAR_S),
        Field(description="How long it is good for since it was first given. 0: for ever."),
    ] = 0.0
