"""What somebody asks to be done with ticked rows, and why: the same form for messages and publications."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from django import forms
from django.http import QueryDict


class Deed(Protocol):
    """Something that can be done: the button's verb, and whether a reason must be given."""

    @property
    def verb(self) -> str:
        """As the button says it."""

    @property
    def needs_reason(self) -> bool:
        """Whether it is refused without one."""


class DeedForm(forms.Form):
    """What to do, one of `deeds` by its name, and why; `no_reason` is said where a reason is missing."""

    act = forms.ChoiceField()
    reason = forms.CharField(max_length=1000, required=False)

    def __init__(self, params: QueryDict, deeds: Mapping[str, Deed], no_reason: str) -> None:
        super().__init__(params)
        self.deeds, self.no_reason = deeds, no_reason
        act = self.fields["act"]
        assert isinstance(act, forms.ChoiceField)  # noqa: S101 - tells mypy
        act.choices = [(name, deed.verb) for name, deed in deeds.items()]

    def clean_reason(self) -> str:
        """The reason, where one is needed."""
        reason: str = self.cleaned_data["reason"].strip()
        if not reason and (deed := self.deeds.get(self.cleaned_data.get("act", ""))) and deed.needs_reason:
            raise forms.ValidationError(self.no_reason)
        return reason
