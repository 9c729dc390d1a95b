"""Paging by key: every row once, in order, in both directions, whatever the cursor."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.web import factories
from trades.models import Trade
from trades.web import keyset

pytestmark = pytest.mark.django_db
NEWEST = keyset.Ordering("trades", "updated_at")


def walk(ordering: keyset.Ordering, size: int) -> tuple[list[list[int]], list[keyset.Page[Trade]]]:
    params: dict[str, str] = {}
    pages = []
    while True:
        page = keyset.page(Trade.objects.all(), ordering, size=size, params=params)
        pages.append(page)
        if not page.older:
            return [[row.pk for row in page.rows] for page in pages], pages
        params = {"after": page.older}


@pytest.mark.parametrize("ordering", [NEWEST, keyset.Ordering("by-id")])
@pytest.mark.parametrize("size", [1, 3, 7, 10, 20])
def test_walking_older_gives_every_row_once_in_order(ordering: keyset.Ordering, size: int) -> None:
    for number in range(10):
        factories.trade(f"T-{number}", age=number // 4)

    pages, _ = walk(ordering, size)

    fields = ordering.fields("-")
    assert [pk for page in pages for pk in page] == list(Trade.objects.order_by(*fields).values_list("pk", flat=True))
    assert all(len(page) <= size for page in pages)


def test_walking_newer_gives_the_same_pages_back() -> None:
    for number in range(9):
        factories.trade(f"T-{number}", age=number // 4)
    forward, pages = walk(NEWEST, 3)

    page, back = pages[-1], [forward[-1]]
    while page.newer:
        page = keyset.page(Trade.objects.all(), NEWEST, size=3, params={"before": page.newer})
        back.append([row.pk for row in page.rows])

    assert list(reversed(back)) == forward


def test_rows_that_move_to_the_top_are_not_shown_again_further_down() -> None:
    trades = [factories.trade(f"T-{number}", age=number) for number in range(6)]
    first = keyset.page(Trade.objects.all(), NEWEST, size=3, params={})
    Trade.objects.filter(pk=trades[5].pk).update(updated_at=factories.NOON + timedelta(seconds=1))

    second = keyset.page(Trade.objects.all(), NEWEST, size=3, params={"after": first.older})

    assert [row.pk for row in second.rows] == [trades[3].pk, trades[4].pk]


@pytest.mark.parametrize("cursor", ["x", "a.b", "WzFd.forged", "é", "." * 300])
def test_a_cursor_that_was_not_given_shows_the_first_page_and_says_so(cursor: str) -> None:
    factories.trade()

    page = keyset.page(Trade.objects.all(), NEWEST, size=3, params={"after": cursor})

    assert page.bad_cursor
    assert len(page.rows) == 1


def test_a_cursor_of_one_list_is_no_cursor_of_another() -> None:
    for number in range(3):
        factories.trade(f"T-{number}")
    first = keyset.page(Trade.objects.all(), NEWEST, size=1, params={})

    page = keyset.page(Trade.objects.all(), keyset.Ordering("uploads"), size=1, params={"after": first.older})

    assert page.bad_cursor


def test_each_page_costs_one_query(django_assert_max_num_queries: object) -> None:
    for number in range(30):
        factories.trade(f"T-{number}", age=number)
    first = keyset.page(Trade.objects.all(), NEWEST, size=5, params={})

    with django_assert_max_num_queries(1):  # type: ignore[operator]
        keyset.page(Trade.objects.all(), NEWEST, size=5, params={"after": first.older})
