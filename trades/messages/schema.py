"""Schema checks whose outcome a person understands: element, found, expected."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from lxml import etree

from trades.messages.fields import Misfit
from trades.messages.values import shorten

TYPES = {
    "xs:positiveInteger": "a whole number, 1 or more",
    "xs:nonNegativeInteger": "a whole number, 0 or more",
    "xs:integer": "a whole number",
    "xs:decimal": "a decimal number such as 1250.50",
    "xs:date": "a date such as 2024-03-04",
    "xs:dateTime": "a date and time with its zone, such as 2024-03-04T09:30:00Z",
    "xs:anyURI": "a URI without spaces, such as urn:example:desk",
    "xs:boolean": "true or false",
    "Stamp": "a date and time with its zone, such as 2024-03-04T09:30:00Z",
}
PATTERNS = {
    ".+(Z|[+\\-]\\d\\d:\\d\\d)": TYPES["xs:dateTime"],
    "[A-Z]{3}": "a currency of three capital letters, such as EUR",
    "[0-9A-Z]{18}[0-9]{2}": "a legal entity identifier of 20 characters, the last two being digits",
}
FURTHER_NAMES = 12  # of a list of expected elements

# What libxml2 says (xmlschemas.c, xmlSchemaErr), and what it says of the element in our words: {0}, {1} are the groups.
_SENTENCES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), sentence)
    for pattern, sentence in (
        (r"No matching global declaration available for the validation root\.", "is not expected here"),
        (r"This element is not expected\. Expected is (?:one of )?\( (.*) \)\.", "is not expected here; expected {names}"),
        (r"This element is not expected\.", "is not expected here"),
        (r"Missing child element\(s\)\. Expected is (?:one of )?\( (.*) \)\.", "is not complete; expected {names} inside it"),
        (r"Missing child element\(s\)\.", "is not complete"),
        (r"The attribute '(.*)' is required but missing\.", "has no attribute {0}; it is required"),
        (r"The attribute '(.*)' is not allowed\.", "is not known here"),
        (r"\[facet 'enumeration'\] The value '(.*)' is not an element of the set \{(.*)\}\.", "is '{0}'; expected one of {set}"),
        (r"\[facet 'pattern'\] The value '(.*)' is not accepted by the pattern '(.*)'\.", "is '{0}'; expected {pattern}"),
        (
            r"\[facet 'maxLength'\] The value has a length of '(\d+)'; this exceeds the allowed maximum length of '(\d+)'\.",
            "has {0} characters; expected at most {1}",
        ),
        (r"\[facet 'minLength'\] The value has a length of '0'; this underruns the allowed minimum length of '\d+'\.", "is empty"),
        (r"'(.*)' is not a valid value of the (?:atomic|local atomic) type '(.*)'\.", "is '{0}'; expected {type}"),
        (
            r"Element content is not allowed, because the (?:content type|type definition) is (?:a )?simple.*",
            "holds elements; expected text only",
        ),
        (r"Character content (?:other than whitespace )?is not allowed.*", "holds text; expected elements only"),
    )
)
_SUBJECT = re.compile(r"Element '([^']*)'(?:, attribute '([^']*)')?: ")
_NAMESPACE = re.compile(r"\{[^{}']*:[^{}']*\}")  # and not the {3} of a pattern


class Schema:
    """An XML Schema. Raises etree.XMLSchemaParseError or OSError when the file is no schema."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._own = threading.local()
        self._compiled()

    def check(self, node: etree._Element) -> None:
        """Raises Misfit "schema" for the first place where the element `node`, by itself, breaks the schema."""
        schema = self._compiled()
        if schema.validate(node):
            return
        error = schema.error_log[0]
        raise Misfit("schema", *_explained(error.message, node, error.path))

    def _compiled(self) -> etree.XMLSchema:
        # One for each thread: a schema carries the error log of its last run.
        if not hasattr(self._own, "schema"):
            self._own.schema = etree.XMLSchema(file=str(self._file))
        schema: etree.XMLSchema = self._own.schema
        return schema


def _explained(message: str, node: etree._Element, path: str | None) -> tuple[str, etree._Element, str]:
    """The sentence, the element it is about and that element's name."""
    subject = _SUBJECT.match(message)
    name = _NAMESPACE.sub("", subject[1]) if subject else etree.QName(node).localname
    attribute = _NAMESPACE.sub("", subject[2] or "") if subject else ""
    said = message[subject.end() :] if subject else message
    about = f"Attribute {attribute} of {name}" if attribute else name
    return f"{shorten(about)} {_in_words(said)}.", _element_at(node, path), name


def _in_words(said: str) -> str:
    for pattern, sentence in _SENTENCES:
        match = pattern.fullmatch(said.strip())
        if match:
            groups = [shorten(_NAMESPACE.sub("", group)) for group in match.groups()]
            last = _NAMESPACE.sub("", match[match.lastindex]) if match.lastindex else ""
            return sentence.format(
                *groups,
                names=_names(last),
                set=last.replace("'", ""),
                pattern=PATTERNS.get(last, f"text of the form {last}"),
                type=TYPES.get(last, f"a value of type {last}"),
            )
    return f"does not fit the schema: {shorten(_NAMESPACE.sub('', said).strip().rstrip('.'), 300)}"


def _names(listed: str) -> str:
    names = [name.strip() for name in listed.split(",")]
    shown = names[:FURTHER_NAMES] + ["…"] * (len(names) > FURTHER_NAMES)
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"


def _element_at(node: etree._Element, path: str | None) -> etree._Element:
    """The element that libxml2's path (/*/*[3], /t:A/t:B[2]) means, `node` being its first step."""
    for step in (path or "").split("/")[2:]:
        match = re.fullmatch(r"[^\[\]]+(?:\[(\d+)\])?", step)
        name = step.partition("[")[0]
        same = [child for child in node.iterchildren("*") if name in ("*", _prefixed(child))]
        if match is None or len(same) < int(match[1] or 1):
            break
        node = same[int(match[1] or 1) - 1]
    return node


def _prefixed(element: etree._Element) -> str:
    local_name = etree.QName(element).localname
    return f"{element.prefix}:{local_name}" if element.prefix else local_name
