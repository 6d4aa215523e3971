"""What a cache may answer: a model so simple that it is obviously right.

    model.note_version(...)    the origin has begun to answer a fetch: a new version
    model.note_renewal(...)    the origin has said 304 to it
    model.note_purge(...)      a purge has been answered
    model.judge(ask, got)      what is wrong with an answer, or None

Theory. Each full answer of the origin is a version with a serial number, which its head and its
body carry. A version suits a request when it is of the request's URL, when the request has the
same values in the fields that the version varies on, when no purge of it that was over before the
request was sent began after its fetch, and when it is fresh, or may be stale still. Bodies are
whole, or visibly cut and then the beginning of a whole one. What is for one client goes to the
client that asked for it.

Everything is noted with the times that make the model lenient, never wrong: an event that edge may
have seen at any time between two moments counts from the one that allows more. All times are of
one clock, the monotonic one.
"""

from __future__ import annotations

import re
import threading
import zlib
from collections import deque
from dataclasses import dataclass, field

import brotli  # type: ignore[import-untyped]

from tests.fuzz.cache_world import MAX_OBJECT_BYTES, Resource, body_of, normal_encoding

# Between the origin's writing and edge's reading, and until a timer tick, on a busy machine.
SLACK_S = 3.0
EVENTS_KEPT = 60
CONTENT_RANGE = re.compile(rb"bytes (\d+)-(\d+)/(\d+)")
OWN_PAGES = (502, 503, 504)


@dataclass
class Version:
    """One full answer of the origin."""

    serial: int
    resource: Resource
    method: bytes
    ask: int  # the request that edge asked for it with
    values: dict[bytes, bytes | None]  # what that had in the fields that this varies on
    began_at: float  # when the origin got the request
    is_whole: bool = False  # all of it has been written
    renewed_at: float = 0.0  # the last 304 to it, or the beginning

    @property
    def etag(self) -> bytes:
        return b'"%d"' % self.serial

    def body(self) -> bytes:
        return body_of(self.resource, self.serial)


@dataclass(frozen=True)
class Purge:
    """One that edge has carried out at some time between the two."""

    began_at: float
    ended_at: float
    is_soft: bool
    key: bytes = b""
    url: bytes = b""  # host and path; without key and url everything is purged

    def concerns(self, resource: Resource) -> bool:
        if self.key:
            return self.key in resource.keys
        return not self.url or self.url == resource.host + resource.path


@dataclass
class Ask:
    """One request of a client, and what was noticed about the way it went."""

    number: int
    resource: Resource
    method: bytes = b"GET"
    fields: dict[bytes, bytes] = field(default_factory=dict)
    minor: int = 1
    sent_at: float = 0.0
    ended_at: float = 0.0

    @property
    def wants_validation(self) -> bool:
        return self.fields.get(b"cache-control") == b"no-cache"


@dataclass(frozen=True)
class Got:
    """An answer, or what came of one."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes
    is_cut: bool = False
    is_until_close: bool = False


class Model:
    """What has happened; all methods may be called from any thread."""

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self.versions: dict[int, Version] = {}
        self.purges: list[Purge] = []
        self.disturbances: list[tuple[float, float]] = []
        self.kills: list[float] = []
        self.events: dict[int, deque[str]] = {}
        self._lock = threading.Lock()

    # -- what happens -------------------------------------------------------------------------

    def note_version(
        self,
        resource: Resource,
        method: bytes,
        ask: int,
        values: dict[bytes, bytes | None],
        at: float,
    ) -> Version:
        """A new version; `values`: of the request, by the names that it varies on."""
        with self._lock:
            serial = len(self.versions) + 1
            version = Version(serial, resource, method, ask, values, at, renewed_at=at)
            self.versions[serial] = version
        self.tell(resource, at, f"fetch by {ask}: version {serial} for {values}")
        return version

    def note_renewal(self, version: Version, ask: int, at: float) -> None:
        """The origin is about to answer 304 for it."""
        version.renewed_at = at
        self.tell(version.resource, at, f"304 to {ask}: version {version.serial}")

    def note_purge(self, purge: Purge) -> None:
        with self._lock:
            self.purges.append(purge)

    def note_disturbance(self, began_at: float, ended_at: float) -> None:
        """Workers were killed, or replaced by a reload, in that time."""
        with self._lock:
            self.disturbances.append((began_at, ended_at))

    def note_kill(self, at: float) -> None:
        """A worker is about to be killed."""
        with self._lock:
            self.kills.append(at)

    def tell(self, resource: Resource, at: float, event: str) -> None:
        """One line for the report about a resource."""
        with self._lock:
            lines = self.events.setdefault(resource.number, deque(maxlen=EVENTS_KEPT))
            lines.append(f"{at:.4f} {event}")

    def history(self, resource: Resource) -> str:
        """What has happened to a resource lately, and the purges."""
        with self._lock:
            purges = [
                f"{p.began_at:.4f}-{p.ended_at:.4f} {'soft' if p.is_soft else 'hard'} purge of "
                f"{(p.key or p.url or b'all').decode()}"
                for p in self.purges[-EVENTS_KEPT:]
                if p.concerns(resource)
            ]
            lines = [*self.events.get(resource.number, ()), *purges]
            lines += [f"{a:.4f}-{b:.4f} disturbed" for a, b in self.disturbances[-EVENTS_KEPT:]]
        return "\n".join([str(resource), *sorted(lines)])

    def was_disturbed(self, since: float, until: float) -> bool:
        """Whether a worker may have ended connections in that time."""
        with self._lock:
            return any(began <= until and since <= end for began, end in self.disturbances)

    def was_killed(self, since: float, until: float) -> bool:
        """Whether a worker died in that time, or a moment before."""
        with self._lock:
            return any(since - SLACK_S <= at <= until for at in self.kills)

    # -- what may be answered -----------------------------------------------------------------

    def judge(self, ask: Ask, got: Got) -> str | None:
        """What is wrong with an answer to a request, or None."""
        serial = got.fields.get(b"x-serial")
        if got.status == 304:  # has no other field of its own
            serial = bare_tag(got.fields.get(b"etag", b"")) or serial
        if serial is None:
            return self._judge_own_page(ask, got)
        version = self.versions.get(int(serial))
        if version is None:
            return f"serial {serial!r} was never answered by the origin"
        return (
            self._judge_identity(ask, version, got)
            or self._judge_age(ask, version, got)
            or self._judge_content(ask, version, got)
        )

    def _judge_own_page(self, ask: Ask, got: Got) -> str | None:
        """An answer that the origin has not made."""
        resource = ask.resource
        if got.status == 304:
            return "a 304 without an entity tag"
        if got.status == 416:  # has no field of the object
            expected, found = b"bytes */%d" % resource.size, got.fields.get(b"content-range")
            # Of what edge compressed only edge knows the size.
            is_right = found == expected or (resource.is_text and b"accept-encoding" in ask.fields)
            return None if is_right else f"416 with {found!r} instead of {expected!r}"
        if resource.is_faulty and got.status == 500:
            return None
        if got.status not in OWN_PAGES:
            return f"status {got.status} that the origin has never answered"
        if resource.is_faulty or ask.method == b"POST":
            return None
        is_too_large = resource.size > MAX_OBJECT_BYTES and self.policy == "fastly"
        return None if is_too_large else f"{got.status} although the origin is well"

    def _judge_identity(self, ask: Ask, version: Version, got: Got) -> str | None:
        """Whose answer is it?"""
        if version.resource is not ask.resource:
            return f"the answer of {version.resource.name}"
        is_own = version.ask == ask.number
        if ask.method == b"POST" or version.method == b"POST":
            return None if is_own else f"a POST and version {version.serial} of {version.ask}"
        if not version.resource.is_shared and not is_own:
            return f"version {version.serial}, which is for {version.ask} alone"
        # It was fetched for this request then; a 304 may be the origin's, to what was passed.
        marks = got.fields.get(b"x-cache", b"").split(b", ")
        is_miss = set(marks) == {b"MISS"} and got.status != 304
        if is_miss and not is_own:
            return f"a miss, but version {version.serial} was fetched for {version.ask}"
        if version.method == b"HEAD" and ask.method != b"HEAD" and got.status != 304:
            return "an answer to HEAD"
        for name, value in version.values.items():
            if self.value_of(ask.fields, name) != value:
                return f"version {version.serial} for another {name.decode()}: {value!r}"
        return None

    def value_of(self, fields: dict[bytes, bytes], name: bytes) -> bytes | None:
        """What a request has there for the origin: not what only concerns the hop (RFC 9110
        §7.6.1), and with policy fastly the encoding that stands for all."""
        dropped = fields.get(b"connection", b"").lower().split(b", ")
        value = None if name in dropped else fields.get(name)
        if name == b"accept-encoding" and self.policy == "fastly":
            return normal_encoding(fields.get(name))
        return value

    def _judge_age(self, ask: Ask, version: Version, got: Got) -> str | None:
        """Was it purged, or is it too old?"""
        if version.ask == ask.number:
            return None
        # The origin itself has said so to a request of this time: a validator that passed by.
        if got.status == 304 and version.renewed_at >= ask.sent_at:
            return None
        with self._lock:
            purges = [
                p for p in self.purges if p.ended_at < ask.sent_at and p.concerns(version.resource)
            ]
        stale_s = version.resource.stale_s
        for purge in purges:
            if not purge.is_soft and version.began_at < purge.began_at:
                return f"version {version.serial}, purged {purge}"
            if purge.is_soft and not stale_s and version.renewed_at < purge.began_at:
                return f"version {version.serial}, softly purged {purge}"
        age_s = ask.sent_at - version.renewed_at
        if age_s > version.resource.ttl_s + stale_s + SLACK_S:
            return f"version {version.serial}, {age_s:.2f} s old"
        if ask.wants_validation and self.policy == "rfc9111" and age_s > SLACK_S:
            return f"version {version.serial} was not validated"
        return None

    def _judge_content(self, ask: Ask, version: Version, got: Got) -> str | None:
        """Are these its bytes?"""
        whole = version.body()
        if got.status == 304:
            known = ask.fields.get(b"if-none-match", b"").split(b", ")
            is_passed = version.ask == ask.number  # a faulty origin's, which asked nothing of it
            is_right = is_passed or bare_tag(version.etag) in map(bare_tag, known)
            return None if is_right else f"304 for {version.etag!r}, not in {known}"
        if (coding := got.fields.get(b"content-encoding")) is not None:
            return self._judge_coded(ask, got, whole, coding)
        if got.status == 206 and ask.method != b"HEAD":
            return self._judge_part(got, whole)
        if got.status not in (version.resource.status, 206):
            return f"status {got.status} instead of {version.resource.status}"
        if ask.method == b"HEAD":
            length = got.fields.get(b"content-length")
            is_right = length is None or int(length) == len(whole)
            return None if is_right else f"Content-Length {length!r} instead of {len(whole)}"
        if got.is_cut:
            return None if whole.startswith(got.body) else "not the beginning of its body"
        if got.body != whole:
            return f"{len(got.body)} bytes that are not the {len(whole)} of its body"
        if not version.is_whole and version.method != b"HEAD":
            return "looks whole, but the origin has cut it"
        return None

    def _judge_coded(self, ask: Ask, got: Got, whole: bytes, coding: bytes) -> str | None:
        """Compressed by edge: for one who takes it, and the same when it is opened."""
        if coding not in ask.fields.get(b"accept-encoding", b""):
            return f"Content-Encoding {coding!r}, which was not asked for"
        if ask.method == b"HEAD" or got.status == 206:
            return None  # only edge knows those bytes
        try:
            body = opened(got.body, coding)
        except (zlib.error, brotli.error) as error:
            return f"{error} in {coding.decode()} of {len(got.body)} bytes"
        is_right = whole.startswith(body) if got.is_cut else body == whole
        return None if is_right else f"{len(body)} bytes when opened, not the {len(whole)}"

    def _judge_part(self, got: Got, whole: bytes) -> str | None:
        parts = split_parts(got)
        if parts is None:
            return "206 that is no multipart answer and has no Content-Range"
        for content_range, body in parts:
            found = CONTENT_RANGE.fullmatch(content_range)
            if found is None:
                return f"Content-Range {content_range!r}"
            first, last, size = (int(number) for number in found.groups())
            if size != len(whole):
                return f"Content-Range of {size} bytes instead of {len(whole)}"
            expected = whole[first : last + 1]
            if not (expected.startswith(body) if got.is_cut else expected == body):
                return f"not the bytes {first} to {last} of its body"
        return None


def bare_tag(tag: bytes) -> bytes:
    """What is between the quotes, for weak comparison."""
    return tag.removeprefix(b"W/").strip(b'"')


def opened(body: bytes, coding: bytes) -> bytes:
    """As much as can be told of what was compressed."""
    if coding == b"br":
        text: bytes = brotli.Decompressor().process(body)
        return text
    return zlib.decompressobj(31).decompress(body)


def split_parts(got: Got) -> list[tuple[bytes, bytes]] | None:
    """(Content-Range, body) of each part of a 206; None when it has no valid form."""
    kind = got.fields.get(b"content-type", b"")
    if not kind.startswith(b"multipart/byteranges"):
        content_range = got.fields.get(b"content-range")
        return None if content_range is None else [(content_range, got.body)]
    boundary = kind.partition(b"boundary=")[2].strip(b'"')
    pieces = got.body.split(b"\r\n--" + boundary)
    if got.is_cut:
        pieces.pop()  # who knows how much of it is head
    elif pieces.pop() != b"--\r\n":
        return None
    parts = []
    for piece in pieces[1:]:
        head, _, body = piece.partition(b"\r\n\r\n")
        lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n") if line)
        names = {name.lower(): value for name, value in lines.items()}
        parts.append((names.get(b"content-range", b""), body))
    return parts
