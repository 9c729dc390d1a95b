"""Queues files made to order, and documents of several kinds to route."""

from __future__ import annotations

from pathlib import Path

from pytest_django.fixtures import Settings

from tests.messages.documents import fpml, trade
from trades import messages, routes

FPML_BOOK = fpml("executionAdvice", trade("F-1"))
FIX_BOOK = (
    '<FIXML v="5.0 SP2"><TrdCaptRpt RptID="R-1" TrdID="100007" TrdDt="2026-03-02" BizDt="2026-03-02" LastQty="5" LastPx="81.25" Ccy="USD" '
    'TransTyp="0"><Hdr SID="ACME" TID="BIGBANK" Snt="2026-03-02T09:30:05Z"/><Instrmt Sym="CLM6" Exch="NYMEX"/></TrdCaptRpt></FIXML>'
)
PRICE = (
    '<FIXML xmlns="http://www.fixprotocol.org/FIXML-5-0-SP2"><MktDataFull ReqID="7"><Instrmt ID="EURUSD"/><Full Typ="0" Px="1.0871"/>'
    "</MktDataFull></FIXML>"
)


def use(settings: Settings, folder: Path, text: str) -> Path:
    """Put this queues file to use, in this process."""
    file = folder / "queues.toml"
    file.write_text(text, "utf-8")
    settings.TRADES_QUEUES_FILE = str(file)
    routes.file._in_use.cache_clear()  # another text under the same name, which no process sees otherwise
    return file


def chosen(text: str | messages.LargeText) -> routes.Choice | None:
    """Where a document of one message goes."""
    document = text.encode() if isinstance(text, str) else text
    (part,) = messages.prepare(document, max_bytes=64 * 1024 * 1024)
    return routes.choose(part.message, part.large or part.text)
