"""HTTP-date in its three forms (RFC 9110 §5.6.7), without a clock and without a time zone.

    Sun, 06 Nov 1994 08:49:37 GMT      IMF-fixdate, the one that is sent
    Sunday, 06-Nov-94 08:49:37 GMT     RFC 850, two digits of the year
    Sun Nov  6 08:49:37 1994           asctime

Strict in layout, because a date that two caches read differently is worse than none: every space
and digit stands where the grammar has it, and the day exists. Names and `GMT` match in any case
(RFC 9111 §4.2). The name of the weekday must be one, but need not be that day's.

Called by: conditions, freshness. Pure byte functions that touch no Python.
"""
from libc.string cimport memcmp

cdef enum:
    DAY_S = 86400
    FIXDATE_BYTES = 29
    ASCTIME_BYTES = 24
    RFC850_TAIL_BYTES = 24             # from the comma on; the weekday before it has 6 to 9
    LONG_BYTES = 9                     # the longest weekday
    YEARS_AHEAD_MAX = 50               # of a two-digit year (RFC 9110 §5.6.7)

cdef const char *MONTHS = b"janfebmaraprmayjunjulaugsepoctnovdec"
cdef const char *WEEKDAYS = b"sunmontuewedthufrisat"
cdef const char *LONG_WEEKDAYS = (     # LONG_BYTES each
    b"sunday   monday   tuesday  wednesdaythursday friday   saturday ")
cdef const char *MONTH_DAYS = b"\x1f\x1c\x1f\x1e\x1f\x1e\x1f\x1f\x1e\x1f\x1e\x1f"

cdef struct Civil:
    int year, month, day               # month and day from 1
    int second_of_day


cdef bint parse_http_date(const char *p, uint32_t size, int64_t now_s,
                          int64_t *date_s) noexcept nogil:
    """Is it a valid HTTP-date? Then date_s is set. `now_s` gives a two-digit year its century."""
    cdef Civil civil
    cdef bint good
    if size == FIXDATE_BYTES:
        good = fixdate(p, &civil)
    elif size == ASCTIME_BYTES:
        good = asctime(p, &civil)
    else:
        good = rfc850(p, size, now_s, &civil)
    if not good or not is_day(&civil):
        return False
    date_s[0] = days_of(civil.year, civil.month, civil.day) * DAY_S + civil.second_of_day
    return True


# -- the three forms -----------------------------------------------------------------------------

cdef bint fixdate(const char *p, Civil *civil) noexcept nogil:
    """IMF-fixdate: `day-name "," SP day SP month SP year SP time SP GMT`, 29 bytes."""
    cdef int century = two_digits(p + 12), year = two_digits(p + 14)
    civil.day = two_digits(p + 5)
    civil.month = name_index(p + 8, MONTHS, 12) + 1
    civil.second_of_day = time_of_day(p + 17)
    civil.year = century * 100 + year
    return (name_index(p, WEEKDAYS, 7) >= 0 and p[3] == b',' and p[4] == b' ' and p[7] == b' '
            and p[11] == b' ' and p[16] == b' ' and is_zone(p + 25) and century >= 0
            and year >= 0)


cdef bint asctime(const char *p, Civil *civil) noexcept nogil:
    """`day-name SP month SP ( 2DIGIT / SP DIGIT ) SP time SP year`, 24 bytes."""
    cdef int century = two_digits(p + 20), year = two_digits(p + 22)
    civil.month = name_index(p + 4, MONTHS, 12) + 1
    civil.day = digit(p[9]) if p[8] == b' ' else two_digits(p + 8)
    civil.second_of_day = time_of_day(p + 11)
    civil.year = century * 100 + year
    return (name_index(p, WEEKDAYS, 7) >= 0 and p[3] == b' ' and p[7] == b' ' and p[10] == b' '
            and p[19] == b' ' and century >= 0 and year >= 0)


cdef bint rfc850(const char *p, uint32_t size, int64_t now_s, Civil *civil) noexcept nogil:
    """`day-name-l "," SP day "-" month "-" 2DIGIT SP time SP GMT`."""
    cdef uint32_t long_size = size - RFC850_TAIL_BYTES
    cdef int year
    if size <= RFC850_TAIL_BYTES or long_size > LONG_BYTES or not is_long_weekday(p, long_size):
        return False
    p += long_size
    year = two_digits(p + 9)
    civil.day = two_digits(p + 2)
    civil.month = name_index(p + 5, MONTHS, 12) + 1
    civil.second_of_day = time_of_day(p + 12)
    if (p[0] != b',' or p[1] != b' ' or p[4] != b'-' or p[8] != b'-' or p[11] != b' '
            or not is_zone(p + 20) or year < 0):
        return False
    set_century(civil, year, now_s)
    return True


cdef void set_century(Civil *civil, int year, int64_t now_s) noexcept nogil:
    """The latest year with these two digits that is at most 50 years ahead (RFC 9110 §5.6.7)."""
    cdef Civil now
    cdef int most
    civil_of(now_s, &now)
    most = now.year + YEARS_AHEAD_MAX
    civil.year = most - (most - year) % 100
    if civil.year == most and is_later_in_year(civil, &now):
        civil.year -= 100


cdef bint is_later_in_year(const Civil *a, const Civil *b) noexcept nogil:
    if a.month != b.month:
        return a.month > b.month
    if a.day != b.day:
        return a.day > b.day
    return a.second_of_day > b.second_of_day


# -- parts ---------------------------------------------------------------------------------------

cdef inline int digit(char c) noexcept nogil:
    return c - 48 if c >= 48 and c <= 57 else -1


cdef inline int two_digits(const char *p) noexcept nogil:
    """0 to 99, or -1."""
    cdef int tens = digit(p[0]), ones = digit(p[1])
    return tens * 10 + ones if tens >= 0 and ones >= 0 else -1


cdef bint same_text(const char *p, const char *lower, uint32_t size) noexcept nogil:
    """Equality in any case with a text of lower-case letters."""
    cdef uint32_t i
    for i in range(size):
        if (<unsigned char>p[i] | 0x20) != <unsigned char>lower[i]:
            return False
    return True


cdef bint is_long_weekday(const char *p, uint32_t size) noexcept nogil:
    cdef uint32_t i
    cdef const char *name
    for i in range(7):
        name = LONG_WEEKDAYS + i * LONG_BYTES
        if same_text(p, name, size) and (size == LONG_BYTES or name[size] == b' '):
            return True
    return False


cdef int name_index(const char *p, const char *names, int count) noexcept nogil:
    """Which of the three-letter names stands at p, or -1."""
    cdef char lower[3]
    cdef int i
    for i in range(3):
        lower[i] = p[i] | 0x20
    for i in range(count):
        if memcmp(lower, names + 3 * i, 3) == 0:
            return i
    return -1


cdef inline bint is_zone(const char *p) noexcept nogil:
    """` GMT`. RFC 9111 §4.2: another zone makes the date invalid."""
    return p[0] == b' ' and same_text(p + 1, b"gmt", 3)


cdef int time_of_day(const char *p) noexcept nogil:
    """Seconds of `hh:mm:ss`, or -1. A leap second counts as the second before it: a time is never
    rounded up (RFC 9111 §4.2)."""
    cdef int hour = two_digits(p), minute = two_digits(p + 3), second = two_digits(p + 6)
    if (hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 60
            or p[2] != b':' or p[5] != b':'):
        return -1
    return hour * 3600 + minute * 60 + (59 if second == 60 else second)


cdef inline bint is_leap(int year) noexcept nogil:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


cdef bint is_day(const Civil *civil) noexcept nogil:
    cdef int most
    if civil.month < 1 or civil.second_of_day < 0 or civil.day < 1:
        return False
    most = MONTH_DAYS[civil.month - 1]
    if civil.month == 2 and is_leap(civil.year):
        most = 29
    return civil.day <= most


# -- days and years (proleptic Gregorian; years of 400-year eras that begin in March) --------------

cdef int64_t days_of(int year, int month, int day) noexcept nogil:
    """Days from 1970-01-01 to a date of the years 0 to 9999."""
    cdef int64_t y = year - (1 if month <= 2 else 0) + 400
    cdef int64_t era = y // 400, of_era = y % 400
    cdef int64_t of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return ((era - 1) * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year) - 719468


cdef void civil_of(int64_t now_s, Civil *civil) noexcept nogil:
    """The date of a time; times outside the years 1970 to 9999 count as the nearest of these."""
    cdef int64_t seconds = min(max(now_s, <int64_t>0), <int64_t>253402300799)
    cdef int64_t days = seconds // DAY_S + 719468
    cdef int64_t of_era = days % 146097
    cdef int64_t year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    cdef int64_t of_year = of_era - (365 * year + year // 4 - year // 100)
    cdef int month = <int>((5 * of_year + 2) // 153)
    civil.day = <int>(of_year - (153 * month + 2) // 5) + 1
    civil.month = month + 3 if month < 10 else month - 9
    civil.year = <int>(year + days // 146097 * 400) + (1 if civil.month <= 2 else 0)
    civil.second_of_day = <int>(seconds % DAY_S)


def parse_for_test(bytes text, int64_t now_s=1_780_000_000):
    """Seconds since the epoch, or None; read at `now_s` (in May 2026 unless told)."""
    cdef int64_t date_s = 0
    if parse_http_date(text, <uint32_t>len(text), now_s, &date_s):
        return date_s
    return None
