"""Differences of texts that are slow to compare, and the page of a message that has many of them."""

from __future__ import annotations

from random import Random

import pytest
from django.test import Client

from tests.web import factories
from trades import rehearsal

pytestmark = pytest.mark.django_db


def counts(old: list[str], new: list[str]) -> tuple[int, int]:
    """How many lines of a difference are removed, and how many added."""
    kinds = [line.kind for line in rehearsal.difference("\n".join(old), "\n".join(new))]
    return kinds.count("-"), kinds.count("+")


def test_lines_that_are_nearly_all_alike_are_shown_as_replaced() -> None:
    dice = Random(1)
    old, new = (["same", *(dice.choice("ab") for _ in range(1_900))] for _ in range(2))

    removed, added = counts(old, new)

    assert removed == added >= 1_890


def test_a_comparison_that_splits_again_and_again_ends_with_the_rest_shown_as_replaced() -> None:
    old = [line for number in range(1_000) for line in ("a", f"old {number}")]
    new = [line for number in range(200) for line in ("a", *(f"new {number} {further}" for further in range(9)))]

    removed, added = counts(old, new)

    assert 1_800 < removed < 2_000  # at least 1,800 differ; compared to the end, exactly these
    assert added - removed == len(new) - len(old)


def test_a_long_message_with_a_few_changes_is_compared_line_by_line() -> None:
    old = [line for number in range(300) for line in ("<Leg>", f"  <Rate>{number}</Rate>", "</Leg>")]
    new = [line.replace("<Rate>", "<Rate>-") if number % 90 == 1 else line for number, line in enumerate(old)]

    assert counts(old, new) == (10, 10)


def test_a_message_with_many_conflicts_shows_the_differences_of_the_first_few(vera: Client) -> None:
    first = factories.message(body="<a>\n1\n</a>")
    later = [factories.message("QUARANTINED", f"<a>\n{n}\n</a>", conflicts_with=first, code="publication-conflict") for n in range(2, 8)]

    response = vera.get(f"/quarantine/{first.pk}/")
    html = response.content.decode()

    assert response.status_code == 200
    assert html.count('<table class="diff">') == 3
    assert [f'href="/quarantine/{other.pk}/">The later message' in html for other in later] == [True] * 6
