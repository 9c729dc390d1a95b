"""The model keeps the contract of SQS FIFO; the local broker and moto keep it but for the differences that are named."""

from __future__ import annotations

import functools

import pytest

from tests.fifo.contract import CHECKS, EXPECTED, LONG, NOT_RUN, results, surprise

# All results of a broker are made at once, in one process.
pytestmark = pytest.mark.xdist_group("contract")

results_of = functools.cache(results)


@pytest.mark.parametrize("name", CHECKS)
def test_the_model_keeps_the_contract(name: str) -> None:
    assert results_of("model")[name] == ""


@pytest.mark.parametrize("name", [name for name in CHECKS if name not in LONG])
@pytest.mark.parametrize("emulator", ["local", "moto"])
def test_a_broker_differs_only_where_the_table_says_so(emulator: str, name: str) -> None:
    found = results_of(emulator)[name]
    assert found != NOT_RUN
    assert surprise(emulator, name, found) == ""


def test_the_table_names_checks_that_exist() -> None:
    assert {name for _, name in EXPECTED} <= set(CHECKS)
    assert {broker for broker, _ in EXPECTED} == {"local", "moto"}


def test_a_difference_that_is_not_named_and_one_that_is_gone_are_surprises() -> None:
    assert "not named" in surprise("model", "a_resend_is_swallowed", "delivered: ['a', 'a'], and not ['a']")
    assert "take its difference off" in surprise("moto", "sequence_numbers_rise", "")
    assert surprise("moto", "sequence_numbers_rise", "the sender's numbers: ...") == ""
    assert "was not run" in surprise("moto", "sequence_numbers_rise", NOT_RUN)
