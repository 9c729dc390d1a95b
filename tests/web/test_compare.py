"""Comparing two events: field by field, line by line, in the addresses and words of the page."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from tests.web import factories, scenes
from tests.web.asking import page
from trades.web import line_changes
from trades.web.compare import Change, changed_fields, fields_of
from trades.web.line_changes import canonical

pytestmark = pytest.mark.django_db
MOST_QUERIES = 12


def changed(before: str, after: str) -> list[tuple[str, str | None, str | None]]:
    found = changed_fields(before, after)
    assert found is not None
    return [(change.path, change.before, change.after) for change in found]


# Fields


def test_a_changed_value_and_a_changed_attribute_are_told_with_their_paths() -> None:
    before = '<T xmlns="urn:x"><Price currency="EUR">241.15</Price><Same a="1">x</Same></T>'
    after = '<T xmlns="urn:x"><Price currency="USD">241.55</Price><Same a="1">x</Same></T>'

    assert changed(before, after) == [("/T/Price/@currency", "EUR", "USD"), ("/T/Price", "241.15", "241.55")]


def test_what_is_in_one_document_alone_is_not_present_in_the_other() -> None:
    assert changed("<T><A>1</A></T>", "<T><B>2</B></T>") == [("/T/B", None, "2"), ("/T/A", "1", None)]


def test_repeated_elements_are_told_apart_by_their_keys_whatever_their_order() -> None:
    before = '<T><Party role="buyer">Northgate</Party><Party role="seller">Kestrel</Party></T>'
    after = '<T><Party role="seller">Kestrel</Party><Party role="buyer">Harbour</Party></T>'

    assert changed(before, after) == [("/T/Party[2]", "Northgate", "Harbour")]


def test_repeated_elements_without_keys_are_told_apart_by_place_and_an_insertion_is_one_change() -> None:
    before = "<T><Leg><Rate>1</Rate></Leg><Leg><Rate>2</Rate></Leg></T>"
    after = "<T><Leg><Rate>1</Rate></Leg><Leg><Rate>9</Rate></Leg><Leg><Rate>2</Rate></Leg></T>"

    assert changed(before, after) == [("/T/Leg[2]/Rate", None, "9")]


def test_a_changed_key_is_a_change_and_not_one_gone_and_one_new() -> None:
    before = '<T><Pty ID="A" R="1"/><Pty ID="B" R="2"/></T>'
    after = '<T><Pty ID="A" R="1"/><Pty ID="C" R="2"/></T>'

    assert changed(before, after) == [("/T/Pty[2]/@ID", "B", "C")]


def test_fields_of_the_header_are_marked_as_such() -> None:
    found = changed_fields(
        "<T><Header><MessageId>1</MessageId></Header><V>1</V></T>", "<T><Header><MessageId>2</MessageId></Header><V>2</V></T>"
    )

    assert found == [
        Change("/T/Header/MessageId", "Message id", "1", "2", is_header=True),
        Change("/T/V", "V", "1", "2"),
    ]


def test_formatting_comments_and_prefixes_change_no_field() -> None:
    assert changed('<a xmlns="urn:x"><b>1</b></a>', '<p:a xmlns:p="urn:x">\n  <!-- note --><p:b> 1 </p:b>\n</p:a>') == []


def test_attributes_that_differ_by_namespace_alone_do_not_hide_each_other() -> None:
    document = '<r xmlns:a="u:a" xmlns:b="u:b" a:v="{}" b:v="2"/>'

    assert changed(document.format(1), document.format(3)) == [("/r/@{u:a}v", "1", "3")]


def test_a_namespace_that_is_no_absolute_uri_is_compared_as_any_other() -> None:
    document = '<a xmlns="urgent"><b>{}</b><b>2</b></a>'

    assert changed(document.format(1), document.format(3)) == [("/a/b[1]", "1", "3")]
    assert canonical("<a xmlns='urgent' d='1' c='2'><b/></a>") == canonical('<a c="2" d="1" xmlns="urgent">\n  <b></b>\n</a>')


def test_entities_are_never_resolved() -> None:
    declared = '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>'

    assert changed_fields(declared, "<a/>") is None
    assert fields_of(declared) == []
    assert canonical(declared) == declared


def test_different_root_elements_have_no_field_in_common() -> None:
    assert changed("<A><x>1</x></A>", "<B><x>1</x></B>") == [("/A/x", "1", None), ("/B/x", None, "1")]


# Lines


def rows(before: str, after: str, *, unified: bool = False) -> list[str]:
    found = line_changes.line_changes(before, after, unified=unified)
    told = []
    for section in found.sections:
        if section.folded:
            told.append(f"{section.folded} folded")
            continue
        told += [" | ".join(f"{side.sign}{side.number}" if side else "" for side in (row.old, row.new)) for row in section.rows]
    return told


def test_lines_stand_beside_each_other_with_signs_and_numbers() -> None:
    assert rows("a\nb\nc", "a\nB\nc") == ["1 | 1", "−2 | +2", "3 | 3"]
    assert rows("a\nb\nc", "a\nB\nc", unified=True) == ["1 | 1", "−2 | ", " | +2", "3 | 3"]


def test_lines_of_the_same_element_stand_beside_each_other() -> None:
    assert rows("<t>1</t>", "<r>x</r>\n<t>2</t>") == [" | +1", "−1 | +2"]


def test_more_than_six_equal_lines_are_folded_and_six_are_not() -> None:
    def texts(count: int) -> tuple[str, str]:
        between = [f"line {number}" for number in range(count)]
        return "\n".join(["a", *between, "b"]), "\n".join(["A", *between, "B"])

    assert len(rows(*texts(6))) == 8
    assert rows(*texts(7)) == ["−1 | +1", "2 | 2", "3 | 3", "3 folded", "7 | 7", "8 | 8", "−9 | +9"]


def test_changed_words_within_a_line_are_marked() -> None:
    found = line_changes.line_changes('<p c="EUR">241.15</p>', '<p c="EUR">241.55</p>', unified=False)
    row = found.sections[0].rows[0]

    assert row.old
    assert re.findall("<mark>(.*?)</mark>", row.old.html) == ["15"]
    assert re.sub("<[^>]+>", "", row.old.html) == "&lt;p c=&quot;EUR&quot;&gt;241.15&lt;/p&gt;"


def test_a_large_document_is_shown_in_part_and_its_folds_need_no_room() -> None:
    before = "\n".join(f"<l>{number}</l>" for number in range(30_000))
    after = before.replace("<l>15000</l>", "<l>x</l>")

    found = line_changes.line_changes(before, after, unified=False)
    shown = sum(len(section.rows) for section in found.sections)

    assert (found.changed, found.changes, found.can_open) == (2, 1, False)
    assert shown < 10
    everything = line_changes.line_changes(before, after, unified=False, unfolded=True)
    assert sum(len(section.rows) for section in everything.sections) <= line_changes.SHOWN_LINES
    assert everything.left_out > 28_000


# The page


def fields(html: str) -> list[tuple[str, str, str]]:
    """Name, before and after of the changes that are not folded away."""
    table = html.partition('<caption class="vh">Fields changed</caption>')[2].partition("</table>")[0]
    found = re.findall(r'<tr><th scope="row">(.*?)</th><td class="path">.*?</td><td>(.*?)</td><td>(.*?)</td></tr>', table)
    return [(name, *(re.sub("<[^>]+>", "", value) for value in values)) for name, *values in found]


def test_an_event_opens_with_what_it_changed_since_the_event_before_it(vera: Client) -> None:
    scenes.record(scenes.told("BOOK", 1, 0), scenes.told("UPDATE", 2, 30, amount="12000000.00"))

    html = page(vera, "/trades/T-1/")

    assert ("Notional", "10000000.00", "12000000.00") in fields(html)
    assert "2 header fields" in html
    assert "Message id" not in [name for name, _, _ in fields(html)]
    assert "Compare with event 1" in html


def test_the_event_before_is_that_of_the_order_that_is_shown(vera: Client) -> None:
    scenes.late_trade()  # event 4 stands between 2 and 3 in business order

    assert "Compare with event 3" in page(vera, "/trades/T-1/events/4/")
    assert "Compare with event 2" in page(vera, "/trades/T-1/events/4/?order=business")
    assert "Compare with event 4" in page(vera, "/trades/T-1/events/3/?order=business")


def test_the_first_event_has_nothing_to_compare_with_and_shows_its_fields(vera: Client) -> None:
    scenes.late_trade()

    html = page(vera, "/trades/T-1/events/1/")

    assert "First event: nothing to compare." in html
    assert '<th scope="row">Notional</th><td class="path">/TradeStatus/TradeDetails/Notional</td><td class="wrap">10000000.00</td>' in html


def test_any_two_events_are_compared_and_the_address_says_so(vera: Client) -> None:
    scenes.late_trade()

    html = page(vera, "/trades/T-1/events/5/?compare=2&layout=unified")

    assert ("Notional", "12000000.00", "12500000.00") in fields(html)
    assert 'class="cmp hl unified"' in html
    assert "Compare with event 2" in html
    assert 'href="/trades/T-1/events/5/?tab=xml&layout=unified&compare=2">XML</a>' in html
    assert 'href="/trades/T-1/events/5/?layout=split&compare=2">Split</a>' in html


def test_two_ticked_events_are_compared_the_later_with_the_earlier(vera: Client) -> None:
    scenes.late_trade()

    response = vera.get("/trades/T-1/?e=5&e=2&order=business&tab=xml")

    assert (response.status_code, response["Location"]) == (302, "/trades/T-1/events/5/?order=business&compare=2")


@pytest.mark.parametrize("query", ["e=5", "e=1&e=2&e=3", "e=x&e=2", "e=2&e=2"])
def test_ticking_other_than_two_is_answered_with_a_sentence(vera: Client, query: str) -> None:
    scenes.late_trade()

    assert "Tick two events of the history to compare them." in page(vera, f"/trades/T-1/?{query}")


@pytest.mark.parametrize(
    ("compare", "sentence"),
    [
        ("99", "Event 5 can't be compared with event 99, which is not in this history."),
        ("5", "Event 5 can't be compared with itself."),
        ("x", ""),
        ("-1", ""),
        ("99999999999999999999", ""),
    ],
)
def test_an_event_that_is_not_there_is_not_compared_with(vera: Client, compare: str, sentence: str) -> None:
    scenes.late_trade()

    html = page(vera, f"/trades/T-1/?compare={compare}")

    assert sentence in html
    assert "Compare with event 4" in html


def test_a_status_takes_no_values_away_and_what_follows_it_states_none_anew(vera: Client) -> None:
    scenes.late_trade()

    status, correction = page(vera, "/trades/T-1/events/3/"), page(vera, "/trades/T-1/events/5/")

    assert "fields of event 2 that event 3 does not repeat" in status
    assert [name for name, _, _ in fields(status)] == ["Event", "Status", "Event time"]
    assert "of which event 4 says nothing" in correction
    assert 'Event 4 states no values. <a href="/trades/T-1/events/5/?compare=2">Compare with event 2</a>' in correction


def test_differences_of_formatting_alone_are_hidden_and_can_be_shown(vera: Client) -> None:
    trade = factories.trade()
    factories.event(trade, body='<a x="1" y="2"><b>1</b></a>')
    factories.event(trade, body='<a y="2"\n x="1">\n  <b>1</b>\n</a>')

    html = page(vera, "/trades/T-1/")
    original = page(vera, "/trades/T-1/?text=original")

    assert "The two documents differ in formatting alone." in html
    assert 'href="/trades/T-1/events/2/?text=original">Show the original texts</a>' in html
    assert "5 lines changed" in original
    assert "Hide differences of formatting" in original


def test_two_documents_that_are_the_same_are_said_to_be(vera: Client) -> None:
    trade, shared = factories.trade(), factories.message()
    for _ in range(2):
        factories.event(trade, message=shared)

    assert "The two documents are the same to the byte." in page(vera, "/trades/T-1/")


def test_folded_lines_can_be_opened_without_a_script(vera: Client) -> None:
    trade = factories.trade()
    for value in "12":
        factories.event(trade, body="<a>" + "".join(f"<b{number}>0</b{number}>" for number in range(20)) + f"<c>{value}</c></a>")

    html = page(vera, "/trades/T-1/")
    link = re.search(r'<a href="([^"]+)" data-unfold>.*?19 unchanged lines</a>', html, re.DOTALL)
    assert link

    assert "unchanged line" not in page(vera, link[1])


def test_documents_that_cannot_be_read_are_compared_as_texts(vera: Client) -> None:
    trade = factories.trade()
    factories.event(trade, body="<a>1")
    factories.event(trade, body="<a>2")

    html = page(vera, "/trades/T-1/")

    assert "A document could not be read field by field" in html
    assert "2 lines changed" in html


def test_text_of_documents_is_never_markup_in_a_comparison(vera: Client) -> None:
    trade = factories.trade()
    for number in "12":
        factories.event(trade, body=f'<a b="&lt;script&gt;{number}"><![CDATA[<script>alert({number})</script>]]></a>')

    for query in ("", "?layout=unified", "?text=original", "?tab=xml&text=formatted", "?tab=fields"):
        assert "<script>alert" not in vera.get(f"/trades/T-1/{query}").content.decode()


def test_a_comparison_costs_the_same_for_three_events_and_for_three_hundred(
    vera: Client, django_assert_num_queries: DjangoAssertNumQueries, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    trade = factories.trade()
    for _ in range(3):
        factories.event(trade)
    cache.clear()
    with django_assert_max_num_queries(MOST_QUERIES) as short:
        page(vera, "/trades/T-1/events/3/?compare=1")
    for _ in range(297):
        factories.event(trade, event_class="UPDATE")

    for address in ("/trades/T-1/", "/trades/T-1/events/3/?compare=1", "/trades/T-1/events/150/?compare=299&order=business"):
        cache.clear()
        with django_assert_num_queries(len(short)):
            page(vera, address)


@pytest.mark.parametrize("tab", ["changes", "xml", "fields", "transport"])
def test_every_tab_costs_at_most_twelve_queries(vera: Client, tab: str, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    scenes.repaired_trade()

    with django_assert_max_num_queries(MOST_QUERIES):
        page(vera, f"/trades/R-1/?tab={tab}")


def test_the_menu_offers_events_near_and_far_and_any_by_its_number(vera: Client) -> None:
    trade = factories.trade()
    for _ in range(40):
        factories.event(trade, details={})

    html = page(vera, "/trades/T-1/events/20/")
    menu = html.partition("Compare with event 19")[2].partition("</details>")[0]
    offered = [int(number) for number in re.findall(r">Event (\d+), book", unescape(menu))]

    assert offered[0] == 40
    assert offered[-1] == 1
    assert {16, 19, 21, 24} <= set(offered)
    assert "Event 19, book, the one before" in menu
    assert '<input class="in" type="number" id="compare-with" name="compare" min="1" max="40" value="19">' in menu
