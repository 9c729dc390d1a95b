"""An invented market: products, and the houses that trade them. Every name, LEI and ISIN is made up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Layout(StrEnum):
    """Which elements a product's details have."""

    RATE = "one notional, a price without currency, a maturity"
    PAIR = "two notionals, a price, a maturity"
    SHARES = "a quantity, a notional, a price"
    DATED = "a quantity, a notional, a price, a maturity"


@dataclass(frozen=True, slots=True)
class Product:
    """What is traded. `size` is a usual notional or quantity, `price` a usual price; `days` is how long it runs."""

    name: str
    asset_class: str
    layout: Layout
    currency: str
    other_currency: str
    price: float
    decimals: int
    price_type: str
    size: int
    unit: str
    days: int
    isin: str


@dataclass(frozen=True, slots=True)
class House:
    """One side of a trade."""

    name: str
    lei: str


# Swaps: currency, floating rate, level of the fixed rate
_RATES = (
    ("EUR", "6M EURIBOR", 0.0274), ("USD", "SOFR", 0.0381), ("GBP", "SONIA", 0.0402), ("CHF", "SARON", 0.0091),
    ("JPY", "TONA", 0.0104),
)  # fmt: skip
_TENORS = ((1, "1Y"), (2, "2Y"), (5, "5Y"), (7, "7Y"), (10, "10Y"), (30, "30Y"))
_PAIRS = (
    ("EUR", "USD", 1.0842), ("GBP", "USD", 1.2714), ("USD", "JPY", 152.45), ("EUR", "CHF", 0.9376), ("USD", "SEK", 10.412),
    ("EUR", "GBP", 0.8527),
)  # fmt: skip
_KINDS = (("spot", 2), ("forward 1M", 30), ("forward 3M", 91), ("swap 1W", 7), ("swap 6M", 182), ("option 3M", 91))
_SHARES = (
    ("Brightwater Shipping", "GBP", 14.385), ("Calder Precision Tools", "GBP", 6.212), ("Dunmore Insurance", "GBP", 21.94),
    ("Fjordlys Energi", "SEK", 182.6), ("Grünwald Optik", "EUR", 88.15), ("Halvorsen Marine", "SEK", 97.3),
    ("Ironbridge Rail", "GBP", 3.871), ("Lacombe Laboratoires", "EUR", 54.22), ("Montclair Foods", "USD", 71.06),
    ("Norhaven Paper", "EUR", 12.48), ("Oakfield Semiconductor", "USD", 241.15), ("Pellegrino Motori", "EUR", 33.7),
    ("Quarry Hill Cement", "USD", 118.4), ("Rosedale Care", "USD", 45.92),
)  # fmt: skip
_BONDS = (
    ("Kingdom of Norland 2.125% 2031", "EUR", 98.42, 1700), ("Kingdom of Norland 3.000% 2044", "EUR", 91.07, 6500),
    ("Republic of Estavia 4.250% 2029", "USD", 101.33, 1000), ("Republic of Estavia 5.500% 2036", "USD", 104.81, 3500),
    ("Brightwater Shipping 5.125% 2028", "GBP", 99.64, 700), ("Montclair Foods 3.875% 2030", "USD", 97.25, 1400),
    ("Tessaly Water 2.750% 2033", "EUR", 94.18, 2500), ("Oakfield Semiconductor floating 2027", "USD", 100.06, 400),
    ("Province of Lindmark 1.500% 2032", "CHF", 96.9, 2100), ("Harbour Tunnel Finance 6.000% 2040", "GBP", 108.72, 5100),
)  # fmt: skip
_CREDITS = (
    ("Brightwater Shipping", 0.0142), ("Dunmore Insurance", 0.0068), ("Pellegrino Motori", 0.0219), ("Republic of Estavia", 0.0187),
    ("Tessaly Water", 0.0054), ("Montclair Foods", 0.0073), ("Halvorsen Marine", 0.0305), ("Senior financials, series 46", 0.0061),
)  # fmt: skip
_LISTED = (
    ("Future on the Norland 10Y bond", "EUR", 132.41, "contracts", 60),
    ("Future on the Estavia 5Y bond", "USD", 108.09, "contracts", 60),
    ("Future on the Northern 50 index", "EUR", 4912.5, "contracts", 45),
    ("Future on the Atlantic 100 index", "USD", 5874.25, "contracts", 45),
    ("Call option Oakfield Semiconductor 250", "USD", 9.85, "contracts", 75),
    ("Put option Oakfield Semiconductor 220", "USD", 6.4, "contracts", 75),
    ("Call option Northern 50 index 5000", "EUR", 88.2, "contracts", 75),
    ("Put option Brightwater Shipping 13.50", "GBP", 0.41, "contracts", 75),
    ("Future on North Sea crude", "USD", 81.36, "barrels", 30),
    ("Future on gas, month ahead", "EUR", 34.9, "MWh", 30),
    ("Future on the 3M EURIBOR", "EUR", 97.34, "contracts", 90),
    ("Future on lean hogs", "USD", 88.125, "contracts", 50),
    ("Future on copper", "USD", 9412.0, "tonnes", 90),
    ("Future on milling wheat", "EUR", 218.75, "tonnes", 120),
)  # fmt: skip


def _swaps() -> Iterator[Product]:
    for currency, rate, level in _RATES:
        for years, tenor in _TENORS:
            name = f"{currency} interest rate swap {tenor} against {rate}"
            yield Product(name, "InterestRate", Layout.RATE, currency, "", level, 5, "fixedRate", 10_000_000, "", 365 * years, "")


def _pairs() -> Iterator[Product]:
    for base, quoted, rate in _PAIRS:
        for kind, days in _KINDS:
            name, price_type = f"{base}/{quoted} {kind}", "premium" if "option" in kind else "exchangeRate"
            yield Product(name, "ForeignExchange", Layout.PAIR, base, quoted, rate, 4, price_type, 5_000_000, "", days, "")


def _others() -> Iterator[Product]:
    number = 0
    for name, currency, price in _SHARES:
        number += 1
        share = f"Ordinary shares {name}"
        yield Product(share, "Equity", Layout.SHARES, currency, "", price, 3, "unitPrice", 12_000, "shares", 2, _isin(number))
    for name, currency, price, days in _BONDS:
        number += 1
        yield Product(name, "Bond", Layout.DATED, currency, "", price, 3, "percentage", 2_000_000, "nominal", days, _isin(number))
    for name, spread in _CREDITS:
        for years, tenor in ((3, "3Y"), (5, "5Y")):
            product = f"Credit default swap {tenor} on {name}"
            yield Product(product, "Credit", Layout.RATE, "EUR", "", spread, 5, "spread", 7_500_000, "", 365 * years, "")
    for name, currency, price, unit, days in _LISTED:
        number += 1
        yield Product(name, "Listed", Layout.DATED, currency, "", price, 3, "unitPrice", 150, unit, days, _isin(number))


def _isin(number: int) -> str:
    return f"QZ{number:09}0"


PRODUCTS: tuple[Product, ...] = (*_swaps(), *_pairs(), *_others())

OWN_NAME = "Northgate Bank plc"
_NAMES = (
    "Alder and Finch Asset Management", "Aldwych Pension Fund", "Banque Lacombe SA", "Bergström Kapital AB", "Blackthorn Macro Fund",
    "Calder Valley Building Society", "Castellan Insurance", "Coppermill Capital", "Dunmore Life", "Eastmoor Treasury Services",
    "Ferrante e Figli SpA", "Finchley Global Markets", "Glenholm Investment Trust", "Granite Bay Partners", "Grünwald Vermögen GmbH",
    "Harbour Capital Fund", "Heathcote Brokers", "Hollis Street Securities", "Isengard Commodities", "Jura Prime Brokerage",
    "Kestrel Securities Ltd", "Kingsmere Bank", "Lindmark Landesbank", "Lyceum Asset Managers", "Mariner Reinsurance",
    "Meridian Pension Trustees", "Montrose Derivatives", "Nordhavn Bank A/S", "Oakfield Corporate Treasury", "Orchard Row Capital",
    "Pellegrino Finanza", "Quayside Clearing House", "Redcliffe Quant Fund", "Saltmarsh Energy Trading", "Severn Estuary Utilities",
    "Tamworth Credit Union", "Thornbury Wealth", "Umbra Systematic Fund", "Westerly Sovereign Fund", "Yarrow Private Bank",
)  # fmt: skip


def _lei(name: str, number: int) -> str:
    letters = "".join(letter for letter in name.upper() if letter.isascii() and letter.isalpha())
    return f"{'0' * 6}{letters[:12]:X<12}{number:02}"


OWN = House(OWN_NAME, _lei(OWN_NAME, 40))
COUNTERPARTIES: tuple[House, ...] = tuple(House(name, _lei(name, number)) for number, name in enumerate(_NAMES, start=41))
