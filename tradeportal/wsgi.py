"""The WSGI entry point that gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tradeportal.settings")
application = get_wsgi_application()

from trades import routes  # noqa: E402 - needs Django

# Read when the server starts: one that can't know where messages go serves nothing.
routes.in_use()
