"""Enums and sizes shared by Python and C; see limits.pxd for the table."""

REFUSED_STATUS = {reason: 400 for reason in Refused}
REFUSED_STATUS[Refused.REQUEST_LINE_TOO_LONG] = 414
REFUSED_STATUS[Refused.HEAD_TOO_LONG] = 431
REFUSED_STATUS[Refused.TOO_MANY_FIELDS] = 431
REFUSED_STATUS[Refused.BODY_TOO_LONG] = 413
