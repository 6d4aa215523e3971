"""What came of orders, in a page that two processes read and one writes."""

import os

from edge.outcomes import FAILURE_CHARACTERS_MAX, PAGE_BYTES, OutcomePage, Outcomes


def test_orders_are_counted_and_the_last_failure_is_kept() -> None:
    page = OutcomePage.create()
    other = OutcomePage(page.fd)
    assert other.read() == Outcomes()
    page.reloaded()
    page.not_reloaded("port in use")
    page.upgraded()
    page.upgraded()
    page.not_upgraded("no such file")
    found = other.read()
    assert (found.reloads, found.reload_failures) == (1, 1)
    assert (found.upgrades, found.upgrade_failures) == (2, 1)
    assert found.failure == "no such file"
    assert found.failed_at is not None
    os.close(page.fd)


def test_the_longest_reason_fits_the_page() -> None:
    page = OutcomePage.create()
    page.not_upgraded("\N{SNOWMAN}" * 10 * FAILURE_CHARACTERS_MAX)
    assert os.fstat(page.fd).st_size <= PAGE_BYTES
    assert page.read().failure == "\N{SNOWMAN}" * FAILURE_CHARACTERS_MAX
    os.close(page.fd)


def test_a_page_that_is_half_written_is_not_believed() -> None:
    page = OutcomePage.create()
    page.upgraded()
    os.pwrite(page.fd, b"{", 20)
    assert page.read() == Outcomes()
    os.close(page.fd)
