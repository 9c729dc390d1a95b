"""A firm's own XML, made up here, and the mapping files that make the portal read it and the private samples."""

from __future__ import annotations

from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"

ACME = """\
dialect = "acme-blotter"
title = "Acme blotter"
version = "1"
each = "a:Deal"

[match]
namespace = "urn:acme:blotter"
roots = ["Deals"]

[namespaces]
a = "urn:acme:blotter"

[fields]
event_class = { xpath = "a:Action", map = { N = "BOOK", A = "UPDATE", X = "CANCEL" } }
version = { xpath = "a:Ver", type = "int" }
event_time = { xpath = "a:Stamp", type = "datetime", format = "%Y%m%d;%H%M%S", zone = "Europe/London" }
trade_date = { xpath = "a:TradeDt", type = "date", format = "%Y%m%d", null_values = ["00000000"] }
sender = "$root/@desk"

[ids]
own = [["a:Uti", "a:Ref/@id"]]
uti = "self::a:Uti"
scheme = "'urn:acme'"

[details]
product = "a:Product"
maturity_date = { xpath = "a:Ends", type = "date-text", format = "%Y%m%d" }

[details.notionals]
each = "a:Leg"
fields = { amount = { xpath = "a:Amt", type = "decimal" }, currency = "a:Ccy" }

[[messages]]
"""

ORE = """\
dialect = "ore-portfolio"
title = "ORE portfolio"
version = "1"
each = "Trade"

[match]
namespace = ""
roots = ["Portfolio"]

[fields]
event_class = "'SNAPSHOT'"
event_kind = "'SNAPSHOT'"

[ids]
own = ["@id"]

[details]
product = "TradeType"

[[messages]]
"""

IB_FLEX = """\
dialect = "ib-flex"
title = "Broker statement"
version = "1"
each = ".//Trade[@tradeID != '']"
type = "$root/@type"

[match]
namespace = ""
roots = ["FlexQueryResponse"]

[fields]
event_class = "'BOOK'"
event_kind = "'EXECUTION'"
event_time = { xpath = "@dateTime", type = "datetime", format = "%Y%m%d;%H%M%S", zone = "America/New_York" }
trade_date = { xpath = "@dateTime", type = "date", format = "%Y%m%d;%H%M%S" }

[ids]
own = ["@tradeID"]
scheme = "@accountId"

[details]
isin = "@isin"
product = "@description"
quantity = { xpath = "@quantity", type = "decimal" }
price = { xpath = "@tradePrice", type = "decimal" }
price_currency = "@currency"

[[messages]]
"""


def deal(
    ref: str = "D-1", action: str = "N", version: int = 1, *, stamp: str = "20261120;093000", uti: str = "", amount: str = "1500000.00"
) -> str:
    """One deal of the firm."""
    return (
        f"<Deal><Action>{action}</Action>{f'<Uti>{uti}</Uti>' if uti else ''}<Ref id='{ref}'/><Ver>{version}</Ver><Stamp>{stamp}</Stamp>"
        f"<TradeDt>20261120</TradeDt><Product>Gas forward</Product><Ends>20271231</Ends>"
        f"<Leg><Amt>{amount}</Amt><Ccy>EUR</Ccy></Leg></Deal>"
    )


def blotter(*deals: str) -> str:
    """The firm's document of these deals."""
    return f'<Deals xmlns="urn:acme:blotter" desk="GAS">{"".join(deals)}</Deals>'
