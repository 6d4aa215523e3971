"""What the demo tells its visitor: where things are and what to try, as lines ready to paste.

Pure text from the settings and the running nodes; `edge.demo.run` prints it once all answer.
"""

from collections.abc import Sequence

from edge.demo.children import RESTART_S, ShopNode
from edge.demo.pages import STATIC
from edge.settings import Settings


def front_address(settings: Settings) -> str:
    """Where clients come in: the outermost tier that listens."""
    tiers = (settings.cdn, settings.elb, settings.haproxy)
    return next(tier.listen for tier in tiers if tier is not None and tier.listen is not None)


def build_guide(settings: Settings, nodes: Sequence[ShopNode]) -> str:
    """The whole text."""
    front = f"http://{front_address(settings)}"
    node_lines = "".join(f"    {n.name:10} http://{n.address}/  pid {n.pid}\n" for n in nodes)
    style = f"{front}{STATIC}/frontend/css/styles.css"
    who = f"'{front}/customer/section/load?sections=node'"
    text = f"""
The shop is at {front}/ (any browser), made by three nodes:

{node_lines}
A page through the whole chain; X-Node names the node that made it
    curl -i {front}/women.html
The cache: ask twice, and X-Cache says HIT. Pages come with a session cookie, and an answer with
a cookie is passed, as at Fastly without the shop's own VCL
    curl -si {style} | grep -i ^x-cache
Which node answers
    for i in 1 2 3 4 5 6; do curl -s {who}; echo; done
Put two jackets into the cart, then look at it
    curl -i -c cart.txt -d 'product=102&qty=2' {front}/checkout/cart/add/
    curl -s -b cart.txt {front}/checkout/cart/
A page that takes two seconds
    curl -i '{front}/slow?ms=2000'
"""
    if settings.admin is not None:
        admin = f"http://{settings.admin.listen}"
        text += f"""\
States and counters of every tier and server
    curl -s {admin}/status
    curl -s {admin}/metrics
"""
    text += f"""\
Failover: start this loop in a second terminal, then kill a node; it is back in {RESTART_S:g} s
    while sleep 0.2; do curl -s -w ' %{{http_code}}\\n' {who}; done
    kill -9 {nodes[-1].pid}

Ctrl-C ends the demo.
"""
    return text
