"""The product's settings, cut off from the developer's own environment, `.env` and var folder."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# A value that is set wins over the developer's .env, so whatever would change a test is set here.
_var = Path(tempfile.mkdtemp(prefix="tradeportal-tests-"))
atexit.register(shutil.rmtree, _var, ignore_errors=True)
for _name in ("SECRET_KEY", "CSRF_TRUSTED_ORIGINS", "BEHIND_TLS_PROXY", "LOGIN_FAILURE_LIMIT"):
    os.environ.pop(_name, None)
os.environ |= {
    "TRADES_VAR_DIR": str(_var),
    "PRODUCTION": "off",
    "DEBUG": "off",
    "ALLOWED_HOSTS": "localhost,127.0.0.1,testserver",
    "LOG_LEVEL": "INFO",
    "TRADES_HOLD": "on",
    "TRADES_QUEUE": "TradeStatus.fifo",
    "TRADES_DEAD_LETTER_QUEUE": "TradeStatusDeadLetter.fifo",
}
# `python -m tests.support.with_postgres` chooses another database, for this and for every process a test starts.
os.environ.setdefault("TESTS_DATABASE_URL", f"sqlite:///{_var / 'portal.sqlite3'}")
os.environ["DATABASE_URL"] = os.environ["TESTS_DATABASE_URL"]

from tradeportal.settings import *  # noqa: E402, F403
from tradeportal.settings import DATABASES, STATIC_ROOT  # noqa: E402

# A file, not memory: a process that a test starts must be able to open the same database.
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": str(_var / "test.sqlite3")}
# WhiteNoise warns when it is missing, and warnings are errors here.
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
