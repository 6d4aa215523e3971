"""Answers that a tier makes itself, in the words of the program it stands for.

HAProxy's tier answers with HAProxy's built-in pages, the ELB's with an ALB's, the CDN's with
Fastly's: there the reason names what has failed, in the status line and on the page. Slow path:
called for errors only.
"""
from http import HTTPStatus
from zlib import crc32

PHRASES = {each.value: each.phrase for each in HTTPStatus}

REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 407: "Proxy Authentication Required", 408: "Request Timeout",
    410: "Gone", 413: "Payload Too Large", 414: "URI Too Long", 421: "Misdirected Request",
    422: "Unprocessable Content", 425: "Too Early", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 463: "", 464: "",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout", 505: "HTTP Version Not Supported",
}
# The statuses that HAProxy has a page for: those that its rules can deny with.
DENY_STATUSES = (200, 400, 401, 403, 404, 405, 407, 408, 410, 413, 421, 422, 425, 429, 500, 501,
                 502, 503, 504)
# HAProxy titles its pages with older names of some codes.
HAPROXY_TITLES = {400: "Bad request", 407: "Unauthorized", 408: "Request Time-out",
                  504: "Gateway Time-out"}
HAPROXY_TEXTS = {
    200: "Service ready.",
    401: "You need a valid user and password to access this content.",
    404: "The resource could not be found.",
    407: "You need a valid user and password to access this content.",
    421: "Request sent to a non-authoritative server.",
    422: "The server cannot process the contained instructions.",
    425: "Your browser sent early data.",
    429: "You have sent too many requests in a given amount of time.",
    501: ".The server does not support the functionality required to fulfill the request.",
    400: "Your browser sent an invalid request.",
    403: "Request forbidden by administrative rules.",
    405: "A request was made of a resource using a request method not supported by that resource",
    408: "Your browser didn't send a complete request in time.",
    410: "The resource is no longer available and will not be available again.",
    413: "The request entity exceeds the maximum allowed.",
    414: "The request target exceeds the maximum allowed.",
    431: "The request header fields exceed the maximum allowed.",
    500: "An internal server error occurred.",
    502: "The server returned an invalid or incomplete response.",
    503: "No server is available to handle this request.",
    504: "The server didn't respond in time.",
}
# What an ALB answers to a head that was not accepted, where others say something else.
ELB_REFUSALS = {431: 400}
ELB_TITLES = {503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}


# What Fastly calls a fetch that has failed, by upstream.Failure; the status is 503 for all. The
# first two and the last have the words of the system's own errors.
FETCH_REASONS = {
    1: "Connection refused",
    2: "Connection timed out",
    3: "backend read error",
    4: "backend read error",
    5: "backend read error",
    6: "Service Unavailable",      # documented for an answer whose status line cannot be read
    7: "first byte timeout",
}
NO_BACKEND = "All backends failed or unhealthy"
BACKEND_FULL = "Backend.max_conn reached"
OBJECT_TOO_LARGE = "Response object too large"


def page_haproxy(int status, str reason, str node, long long now_us):
    title = HAPROXY_TITLES.get(status, REASONS[status])
    body = f"<html><body><h1>{status} {title}</h1>\n{HAPROXY_TEXTS[status]}\n</body></html>\n"
    return title, [("cache-control", "no-cache"), ("content-type", "text/html")], body


def page_elb(int status, str reason, str node, long long now_us):
    title = ELB_TITLES.get(status, REASONS[status])
    body = (f"<html>\r\n<head><title>{status} {title}</title></head>\r\n<body>\r\n"
            f"<center><h1>{status} {title}</h1></center>\r\n</body>\r\n</html>\r\n")
    return title, [("Server", "awselb/2.0"), ("Content-Type", "text/html")], body


def page_cdn(int status, str reason, str node, long long now_us):
    title = reason or REASONS[status]
    # The last number only identifies the request in a log.
    xid = crc32(f"{node}{now_us}".encode())
    details = f"    <p>Details: {node} {now_us // 1_000_000} {xid}</p>\n" if node else ""
    body = ('\n<?xml version="1.0" encoding="utf-8"?>\n'
            '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN"\n'
            ' "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">\n'
            f"<html>\n  <head>\n    <title>{status} {title}</title>\n  </head>\n  <body>\n"
            f"    <h1>Error {status} {title}</h1>\n    <p>{title}</p>\n"
            f"    <h3>Error 54113</h3>\n{details}    <hr>\n"
            "    <p>Varnish cache server</p>\n  </body>\n</html>\n")
    fields = [("Server", "Varnish"), ("Content-Type", "text/html; charset=utf-8")]
    if status < 500:
        # deviates: Fastly says nothing, and caches may keep a 404 or a 410 that says nothing
        fields.append(("Cache-Control", "private, no-store"))
    return title, fields, body


PAGES = (page_cdn, page_elb, page_haproxy)     # by TierKind


def build_answer(int kind, int status, *, bint close, bint head_only=False, int minor=1,
                 int retry_after_s=0, str reason="", str node="", long long now_us=0):
    """A whole answer as bytes. `minor`: of the client's HTTP version; 405 names what is allowed.

    Of a cdn: `reason` instead of the status's own, its `node` and the unix time for the page.
    """
    title, fields, body = PAGES[kind](status, reason, node, now_us)
    lines = [f"HTTP/1.1 {status} {title}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in fields]
    if status == 405:
        lines.append("allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
    if retry_after_s or kind == 0:         # Fastly sends it always: 0
        lines.append(f"retry-after: {retry_after_s}")
    if close:
        lines.append("connection: close")
    elif minor == 0:
        lines.append("connection: keep-alive")
    return ("\r\n".join(lines) + "\r\n\r\n" + ("" if head_only else body)).encode()


def build_made(bytes made, *, bint close, bint head_only=False, int minor=1):
    """An answer that a rule has made, with what it says about the connection."""
    head, _, body = made.partition(b"\r\n\r\n")
    if close:
        head += b"\r\nconnection: close"
    elif minor == 0:
        head += b"\r\nconnection: keep-alive"
    return head + b"\r\n\r\n" + (b"" if head_only else body)


def reason_haproxy(int status):
    """The reason of a status in an answer that a rule has made: HAProxy's, else the registry's."""
    return HAPROXY_TITLES.get(status) or REASONS.get(status) or PHRASES.get(status, "Other")


def build_loop(str node):
    """Fastly's answer to a request that has come back to the site that forwarded it."""
    lines = ["HTTP/1.1 503 Loop detected", "Error-Reason: loop detected", "Connection: close",
             "Content-Type: text/plain", f"Fastly-Host: {node}", f"Fastly-FF: {node}",
             "Server: Varnish", "Content-Length: 0"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
