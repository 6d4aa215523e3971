"""Rules beside Debian's HAProxy 2.6: the same lines, the same requests, the same outcome."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.wire.rules_pair import RulePair, Rules, run_pair

pytestmark = [pytest.mark.wire, pytest.mark.external]

FRONTEND = Rules(
    acl=[
        "is_api path_beg /rest/ /graphql",
        "is_bot req.hdr(user-agent) -i -m sub bot crawler",
        "is_local src 127.0.0.0/8",
        "twice path /twice1",
        "twice path /twice2",
        "many req.hdr_cnt(x) ge 3",
        "big req.hdr_val(x-size) gt 100",
        "ranges req.hdr_val(x-size) 1:5 :-3 70:",
    ],
    http_request=[
        "track-sc0 src table clients",
        "deny deny_status 429 if { path /limited } { sc_http_req_rate(0) gt 1000 }",
        "deny if { path /deny }",
        *[f"deny deny_status {code} if {{ path /deny{code} }}"
          for code in (200, 400, 401, 404, 405, 407, 408, 410, 413, 421, 422, 425, 429, 500, 501,
                       502, 503, 504)],
        "deny status 403 content-type text/plain string no hdr X-Why %[path] if { path /why }",
        "return status 200 content-type text/plain string ok if { path /ping }",
        "return status 418 if { path /tea }",
        "return status 204 if { path /none }",
        'return content-type text/plain lf-string "%[src] %[path] %%" if { path /lf }',
        "redirect location /new code 301 if { path /old }",
        "redirect location /a%[path]?%[query] if { path_beg /fmt }",
        "redirect prefix https://h.test code 303 drop-query if { path /prefix }",
        "redirect prefix /sub if { path /prefix2 }",
        "redirect prefix / code 308 append-slash drop-query if { path /slash }",
        "redirect scheme https code 307 if { path /scheme }",
        "redirect scheme https if { path /ssl } !{ ssl_fc }",
        "redirect location /c set-cookie A=b if { path /cookie }",
        "redirect location /c clear-cookie A if { path /clear }",
        "set-header X-Tier web if !is_api",
        "set-header X-Tier api if is_api",
        "set-header X-Src %[src]",
        "add-header X-Many one",
        "add-header X-Many two if is_bot",
        "del-header X-Debug",
        "del-header X-Tmp- -m beg",
        "del-header ^x-r[0-9]+$ -m reg",
        "set-header X-Seen %[req.hdr(x-tier)]",
        "set-var(txn.who) req.hdr(user-agent),lower",
        "set-header X-Who %[var(txn.who)]",
        "unset-var(txn.who)",
        "set-header X-Who2 <%[var(txn.who)]>",
        "replace-header X-Rep (.*)a(.*) \\1b\\2",
        "replace-value X-Val ^a(.)$ \\1%[path]",
        "set-path /moved%[path] if { path_beg /move }",
        "set-query a=%[path,length] if { path /query }",
        "set-query %[query]&more=1 if { path /query2 }",
        "set-uri /uri?x=%[path] if { path /uri-me }",
        "replace-path ^/rp/([^/]*)/(.*)$ /\\2/\\1 if { path_beg /rp/ }",
        "replace-uri ^/ru/(.*) /R/\\1 if { path_beg /ru/ }",
        "set-method POST if { path /post-me }",
        "set-header X-Acl or if { path /or1 } or { path /or2 }",
        "set-header X-Acl and if is_local is_bot !is_api || { path /or3 }",
        "set-header X-Twice yes if twice",
        "set-header X-NotTwice yes unless twice",
        "set-header X-AclMany yes if many",
        "set-header X-Big yes if big",
        "set-header X-Ranges yes if ranges",
        "set-header X-Dom yes if { hdr_dom(host) shop }",
        "set-header X-Dir yes if { path_dir static }",
        "set-header X-End yes if { path_end .php .html }",
        "set-header X-Reg yes if { path_reg ^/p[0-9]+$ }",
        "set-header X-Len yes if { path_len 3:5 }",
        "set-header X-Host yes if { hdr(host) -i SHOP.test }",
        "set-header X-Param %[url_param(id)] if { url_param(id) -m found }",
        "set-header X-ParamIs yes if { url_param(id) 7 8 }",
        "set-header X-Cook %[req.cook(sid)] if { req.cook(sid) -m found }",
        "set-header X-CookIs yes if { cook(sid) -m beg z }",
        "set-header X-Ip yes if { req.hdr_ip(x-ip) 10.0.0.0/8 2001:db8::/32 }",
        "set-header X-Meth yes if METH_GET",
        "set-header X-Up yes if { nbsrv(api) ge 1 }",
        "set-header X-Base %[base]",
        "set-header X-W %[req.hdr(x),word(2,.)]",
        "set-header X-F %[req.fhdr(x),field(-1,.,2)]",
        "set-header X-First %[req.hdr(x,1)] if { req.hdr(x) -m found }",
        "set-header X-Back %[req.hdr(x,-2)] if { req.hdr(x,-2) -m found }",
        "set-header X-N %[req.hdr_cnt(x)]/%[req.fhdr_cnt(x)]",
        "set-header X-Dec %[url_param(d),url_dec]",
        'set-header X-Sub "%[path,regsub(/,-,g)]"',
        "set-header X-Calc %[path,length,add(3),mul(2),sub(1),div(2),mod(7)]",
        "set-header X-Bytes %[path,bytes(1,2)]",
        "set-header X-Port %[req.hdr(host),host_only]:%[req.hdr(host),port_only]",
        "set-header X-Sc %[sc_tracked(0)]%[sc0_get_gpc0]",
        "sc-inc-gpc0(0) if { path /inc }",
        "set-header X-Up %[path,upper]",
        "allow if { path /allowed }",
        "set-header X-After yes",
    ],
    http_response=[
        "set-header X-Front %[status]",
        "del-header Server",
        "add-header X-Cookie %[res.cook(s)] if { res.cook(s) -m found }",
        "set-header X-Num-Is yes if { res.hdr_val(x-num) gt 5 }",
        "replace-value Vary ^b$ bb",
        "replace-header Set-Cookie (.*)path(.*) \\1Path\\2",
        "deny if { res.hdr(x-powered-by) -m found } { var(txn.deny) -m found }",
    ],
    use_backend=["api if is_api", "img if { path_end .png .jpg }"],
)  # fmt: skip
BACKENDS = {
    "api": Rules(
        acl=["secret path_beg /rest/secret"],
        http_request=[
            "deny deny_status 404 if secret",
            "set-header X-Backend api",
            "set-var(txn.deny) str(1) if { path /rest/denied }",
        ],
        http_response=["set-header X-From api", "del-header X-Powered-By if { status 500 }"],
    ),
    "img": Rules(),
}
TABLES = {"clients": "type ip size 1k expire 30s store http_req_rate(10s),gpc0"}
UA = b"User-Agent: GoogleBot/2"
X = (b"X: a, b.c", b'X: d.e,"q,r".s')


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RulePair]:
    with run_pair(FRONTEND, BACKENDS, tmp_path_factory.mktemp("rules"), TABLES) as pair:
        yield pair


@pytest.mark.parametrize(
    "target",
    ["/deny", *(f"/deny{code}" for code in (
        200, 400, 401, 404, 405, 407, 408, 410, 413, 421, 422, 425, 429, 500, 501, 502, 503,
        504)), "/why", "/ping", "/ping?x", "/tea", "/none", "/lf", "/old", "/fmt/x?y=z", "/fmt",
     "/prefix?a=b", "/prefix2?a=b", "/slash", "/slash?x", "/scheme?q", "/ssl", "/cookie", "/clear",
     "/limited"],
)  # fmt: skip
def test_answers_of_rules(pair: RulePair, target: str) -> None:
    outcome = pair.ask(target)
    assert outcome.node == "" or target == "/limited"


@pytest.mark.parametrize("target", ["/ping", "/deny", "/old"])
def test_answers_to_head_have_no_body(pair: RulePair, target: str) -> None:
    assert pair.ask(target, method=b"HEAD").body == b""


@pytest.mark.parametrize(
    "target",
    ["/", "/rest/x", "/graphql", "/rest", "/or1", "/or2", "/or3", "/twice1", "/twice2", "/move/x?q",
     "/query", "/query?x=y", "/query2?x", "/query2", "/uri-me?q", "/rp/a/b/c?q=r", "/ru/x?y",
     "/post-me", "/static/x", "/x/static", "/x/statics", "/index.php", "/a.html?x=.txt", "/p123",
     "/p12x", "/ab", "/abc", "/abcd", "/abcde", "/x?id=7", "/x?id=9&id=7", "/x?a=b;id=8", "/x?id=",
     "/x?id", "/x?d=a%20b%2Fc+d", "/x?d=%zz", "/x?d=%4", "/allowed", "/inc", "/a/b//c",
     "/rest/secret/1", "/rest/denied", "/rest/x?y=1", "/logo.png", "/rest/logo.png", "/%61%2f"],
)  # fmt: skip
def test_requests_by_target(pair: RulePair, target: str) -> None:
    pair.ask(target)


@pytest.mark.parametrize(
    "fields",
    [
        (UA,),
        (b"User-Agent: Mozilla",),
        (b"X-Debug: 1", b"x-debug: 2", b"X-Tmp-A: 1", b"X-TMP-B: 2", b"X-R12: 1", b"X-Rx: 2"),
        (b"X-Tier: mine", b"X-Many: zero", b"X-Src: me"),
        X,
        (b"X: 1", b"X: 2", b"X: 3"),
        (b"X: ,,", b"X:"),
        (b"X: 1,2,3",),
        (b"X-Size: 101",),
        (b"X-Size: 100",),
        (b"X-Size: 3",),
        (b"X-Size: -7",),
        (b"X-Size: 70",),
        (b"X-Size: abc",),
        (b"X-Size: 5, 70",),
        (b"X-Rep: cab", b"X-Rep: xyz", b"x-rep: banana"),
        (b"X-Val: ab, ac , b,ad",),
        (b"Cookie: sid=abc; other=1",),
        (b"Cookie: other=1; sid=zz", b"Cookie: sid=second"),
        (b"Cookie: xsid=1; sidx=2",),
        (b"Cookie: SID=1",),
        (b"X-Ip: 10.1.2.3",),
        (b"X-Ip: 11.1.2.3, 10.0.0.1",),
        (b"X-Ip: 2001:db8::7",),
        (b"X-Ip: nonsense",),
    ],
)
def test_requests_by_fields(pair: RulePair, fields: tuple[bytes, ...]) -> None:
    pair.ask("/x", *fields)
    pair.ask("/rest/x", *fields)


@pytest.mark.parametrize("host", ["shop.test", "SHOP.TEST", "www.shop.test:81", "myshop.test",
                                  "a.b.shop", "1.2.3.4:80", "[::1]:8080"])  # fmt: skip
def test_requests_by_host(pair: RulePair, host: str) -> None:
    pair.ask("/x", host=host)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS"])
def test_requests_by_method(pair: RulePair, method: bytes) -> None:
    pair.ask("/x", method=method)
