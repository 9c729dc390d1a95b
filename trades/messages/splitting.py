"""A document of several messages -> one document for each, so that each can go to the group of its own trade.

Each part is the whole document without the other messages: header, parties and envelope stay around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lxml import etree

from trades.messages.fields import Misfit

MAX_CHARACTERS = 12 * 1024 * 1024  # of all parts together: what all of them repeat counts for each; a character may take 4 bytes


def alone(nodes: Sequence[etree._Element]) -> Iterator[str]:
    """Each node as a document of its own."""
    return (etree.tostring(node, encoding="unicode", with_tail=False) for node in nodes)


def refuse_repetition(nodes: Sequence[etree._Element]) -> None:
    """Raises Misfit when the documents that `pruned` would give, which repeat what stands around the nodes, together are too large.

    It is known before anything is read: reading ten thousand messages only to refuse them takes long.
    """
    claimed = set(nodes)
    units = [_unit(node, claimed) for node in nodes]
    parents = [unit.getparent() for unit in units]
    namespaces = {parent: _length_of_namespaces(parent) for parent in set(parents) if parent is not None}
    own = sum(len(etree.tostring(unit, encoding="unicode")) for unit in units) - sum(
        namespaces[parent] for parent in parents if parent is not None
    )
    frame = len(etree.tostring(nodes[0].getroottree(), encoding="unicode")) - own
    _refuse_larger(frame, nodes)


def _length_of_namespaces(parent: etree._Element) -> int:
    """How many characters a child of this element gets more when it is written by itself."""
    child = etree.SubElement(parent, "a")
    length = len(etree.tostring(child, encoding="unicode")) - len("<a/>")
    parent.remove(child)
    return length


def _refuse_larger(frame: int, nodes: Sequence[etree._Element]) -> None:
    if frame * len(nodes) > MAX_CHARACTERS:
        sentence = (
            f"The document holds {len(nodes):,} messages, and what stands around them has {frame:,} characters, which each of them would "
            "repeat. Split it into smaller files."
        )
        raise Misfit("too-large", sentence, nodes[0].getroottree().getroot())


def pruned(nodes: Sequence[etree._Element]) -> Iterator[str]:
    """For each node the text of the whole document without the other nodes. The tree is taken apart on the way and left so."""
    document, claimed = nodes[0].getroottree(), set(nodes)
    units = [_unit(node, claimed) for node in nodes]
    places = [_taken_out(unit) for unit in units]
    for unit, (parent, index) in zip(units, places, strict=True):
        parent.insert(index, unit)
        yield etree.tostring(document, encoding="unicode")
        parent.remove(unit)


def _unit(node: etree._Element, claimed: set[etree._Element]) -> etree._Element:
    """What must go when the node goes: the outermost element that holds nothing else."""
    parent = node.getparent()
    # Not by len(): it counts, and a parent of 10,000 would be counted for each of them.
    while parent is not None and parent.getparent() is not None and _is_only(node) and parent not in claimed:
        node, parent = parent, parent.getparent()
    return node


def _is_only(node: etree._Element) -> bool:
    return node.getprevious() is None and node.getnext() is None


def _taken_out(unit: etree._Element) -> tuple[etree._Element, int]:
    """Take the unit, with the white space behind it, out of its parent. Gives the parent and where in it the unit stood, counted
    without the units before it, which are out already."""
    parent = unit.getparent()
    if parent is None:
        raise ValueError("the root of a document can't be taken out of it")
    index = parent.index(unit)
    unit.tail = None
    parent.remove(unit)
    return parent, index
