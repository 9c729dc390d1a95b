"""Who may see and do what. Every view names the permission it needs; nothing is allowed that is not named."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]

SEE, PUBLISH, SETTLE = "trades.view_trade", "trades.publish", "trades.settle"
INSPECT = "auth.change_user"  # what administrators may do and operators may not
NEEDED = {
    SEE: "To see trades, messages and uploads you need the role viewer, operator or administrator.",
    PUBLISH: "To upload and publish documents you need the role operator or administrator.",
    SETTLE: "To replay, correct or discard quarantined messages you need the role operator or administrator.",
    INSPECT: "To inspect documents and try mappings out you need the role administrator.",
}


def needs(permission: str) -> Callable[[View[P]], View[P]]:
    """Let only people with the permission into a view; others get the 403 page, which says what is needed.

    Raises PermissionDenied from the view.
    """

    def guard(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            check(request, permission)
            return view(request, *args, **kwargs)

        return cast("View[P]", guarded)

    return guard


def check(request: HttpRequest, permission: str) -> None:
    """Raise PermissionDenied, with a sentence for the page, unless the person has the permission."""
    if not request.user.has_perm(permission):
        raise PermissionDenied(NEEDED[permission])
