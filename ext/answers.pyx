"""Answers that a tier makes itself, in the words of the program it stands for.

HAProxy's tier answers with HAProxy's built-in pages, the ELB's with an ALB's, the CDN's with a
plain page. Slow path: called for errors only.
"""

REASONS = {
    400: "Bad Request", 403: "Forbidden", 405: "Method Not Allowed", 408: "Request Timeout",
    413: "Payload Too Large", 414: "URI Too Long", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout",
}
# HAProxy titles its pages with older names of some codes.
HAPROXY_TITLES = {400: "Bad request", 408: "Request Time-out", 504: "Gateway Time-out"}
HAPROXY_TEXTS = {
    400: "Your browser sent an invalid request.",
    403: "Request forbidden by administrative rules.",
    405: "A request was made of a resource using a request method not supported by that resource",
    408: "Your browser didn't send a complete request in time.",
    413: "The request entity exceeds the maximum allowed.",
    414: "The request target exceeds the maximum allowed.",
    431: "The request header fields exceed the maximum allowed.",
    500: "An internal server error occurred.",
    502: "The server returned an invalid or incomplete response.",
    503: "No server is available to handle this request.",
    504: "The server didn't respond in time.",
}
ELB_TITLES = {503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}


def page_haproxy(int status):
    title = HAPROXY_TITLES.get(status, REASONS[status])
    body = f"<html><body><h1>{status} {title}</h1>\n{HAPROXY_TEXTS[status]}\n</body></html>\n"
    return title, [("cache-control", "no-cache"), ("content-type", "text/html")], body


def page_elb(int status):
    title = ELB_TITLES.get(status, REASONS[status])
    body = (f"<html>\r\n<head><title>{status} {title}</title></head>\r\n<body>\r\n"
            f"<center><h1>{status} {title}</h1></center>\r\n</body>\r\n</html>\r\n")
    return title, [("Server", "awselb/2.0"), ("Content-Type", "text/html")], body


def page_cdn(int status):
    title = REASONS[status]
    body = (f"<!DOCTYPE html>\n<html><head><title>{status} {title}</title></head>\n"
            f"<body><h1>{status} {title}</h1></body></html>\n")
    fields = [("Cache-Control", "private, no-store"), ("Content-Type", "text/html; charset=utf-8")]
    return title, fields, body


PAGES = (page_cdn, page_elb, page_haproxy)     # by TierKind


def build_answer(int kind, int status, *, bint close, bint head_only=False, int minor=1,
                 int retry_after_s=0):
    """A whole answer as bytes. `minor`: of the client's HTTP version; 405 names what is allowed."""
    title, fields, body = PAGES[kind](status)
    lines = [f"HTTP/1.1 {status} {title}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in fields]
    if status == 405:
        lines.append("allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
    if retry_after_s:
        lines.append(f"retry-after: {retry_after_s}")
    if close:
        lines.append("connection: close")
    elif minor == 0:
        lines.append("connection: keep-alive")
    return ("\r\n".join(lines) + "\r\n\r\n" + ("" if head_only else body)).encode()
