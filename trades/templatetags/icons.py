"""`{% lucide %}` as pages use it: the same icons, without the attributes that the style sheet states once for all of them."""

from __future__ import annotations

import re
from functools import cache

from django import template
from django.utils.safestring import SafeString, mark_safe
from lucide.templatetags.lucide import lucide as drawn

register = template.Library()
# How lines are drawn and how large an icon is: the class `ic` says so.
_STATED = re.compile(r' (width|height|fill|stroke|stroke-width|stroke-linecap|stroke-linejoin)="[^"]*"')


@register.simple_tag
def lucide(name: str, *, size: int | None = 24, **attributes: str) -> SafeString:
    """An icon, short where it has no size of its own."""
    if size is not None or "ic" not in attributes.get("class", "").split():
        return mark_safe(drawn(name, size=size, **attributes))  # noqa: S308 - made by the icon package
    return _short(name, tuple(attributes.items()))


@cache
def _short(name: str, attributes: tuple[tuple[str, str], ...]) -> SafeString:
    start, shapes = drawn(name, size=None, **dict(attributes)).split(">", 1)
    shapes = re.sub(r"\s+(?=<)|(?<=>)\s+", "", shapes).replace(" />", "/>")
    return mark_safe(f"{_STATED.sub('', start)}>{shapes}")  # noqa: S308 - made by the icon package
