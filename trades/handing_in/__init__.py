"""Take in what people hand in: read each document, keep its exact bytes, and say which messages it holds and what is refused, why.

What is kept becomes either publications at once (`trades.publishing`) or drafts, which a person looks at before anything is sent.
A text or file of more than a mebibyte is never held: it goes from the file that it came in to a payload, piece by piece.
"""

from trades.handing_in.documents import PUBLICATION_ID, TRACEPARENT, IncomingDocument, attributes, by_bytes, chunks, outgoing, size_of
from trades.handing_in.groups import ALLOWED, Groups, group_fault
from trades.handing_in.reading import REFERENCE, Ahead, Part, ReadDocument, read
from trades.handing_in.rows import (
    IN_ORDER,
    NOT_UNDERSTOOD,
    NotInReview,
    OutgoingMessage,
    begin,
    drafts_of,
    keep_for_review,
    save,
    summary_of,
    take_for_review,
    warning,
)

__all__ = [
    "ALLOWED", "IN_ORDER", "NOT_UNDERSTOOD", "PUBLICATION_ID", "REFERENCE", "TRACEPARENT", "Ahead", "Groups", "IncomingDocument",
    "NotInReview", "OutgoingMessage", "Part", "ReadDocument", "attributes", "begin", "by_bytes", "chunks", "drafts_of", "group_fault",
    "keep_for_review", "outgoing", "read", "save", "size_of", "summary_of", "take_for_review", "warning",
]  # fmt: skip
