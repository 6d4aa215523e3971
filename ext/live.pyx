# Reads the live-object counts of the debug build; tests hold them at zero.
#
# Who calls it: tests/conftest.py after each test. A release build has ENABLED False and no counts.
# Invariant: a kind appears once it was counted and stays in the answer with 0, so a test can also
# see that a kind was counted at all.

ENABLED = EDGE_LIVE_ENABLED != 0


def live_counts():
    """Kind -> number of live C objects of this process; empty in a release build."""
    return {
        EDGE_LIVE_NAME(row).decode("ascii"): EDGE_LIVE_COUNT(row)
        for row in range(EDGE_LIVE_USED())
    }
