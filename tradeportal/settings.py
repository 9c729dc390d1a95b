"""Settings, top to bottom: the environment decides, and the defaults work right after a checkout.

`PRODUCTION=on` switches every safety on and every convenience off; docs/settings.md describes each variable.
"""

import os
import re
from datetime import timedelta
from pathlib import Path

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()


def switch(name: str, default: bool) -> bool:
    """Whether a variable is on or off. Raises ImproperlyConfigured for any other word, which would otherwise quietly mean off."""
    word = env.str(name, "on" if default else "off").strip().lower()
    if word not in {"on", "true", "yes", "1", "off", "false", "no", "0"}:
        raise ImproperlyConfigured(f"{name} is {word!r}. Set it to on or off.")
    return word in {"on", "true", "yes", "1"}


def whole_number(name: str, default: int) -> int:
    """A whole number from 1 up. Raises ImproperlyConfigured for anything else."""
    text = env.str(name, str(default)).strip()
    if not text.isdecimal() or int(text) < 1:
        raise ImproperlyConfigured(f"{name} is {text!r}. Set it to a whole number from 1 up.")
    return int(text)


def lengths(name: str, default: str) -> dict[str, timedelta]:
    """Lengths of time by word: "CHECKED=2h,ALLEGED=30m". Raises ImproperlyConfigured for anything else."""
    text = env.str(name, default).strip()
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    found = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        if not (parts := re.fullmatch(r"(\w+)=([1-9][0-9]{0,5})([smhd])", item)):
            raise ImproperlyConfigured(f"{name} has {item!r}. Write each as a word, =, a whole number and s, m, h or d: CHECKED=2h.")
        found[parts[1]] = timedelta(**{units[parts[3]]: int(parts[2])})
    return found


VAR_DIR = Path(env.str("TRADES_VAR_DIR", str(BASE_DIR / "var")))
# What is set already wins; .env is the operator's.
if (BASE_DIR / ".env").is_file():
    env.read_env(BASE_DIR / ".env")
PRODUCTION = switch("PRODUCTION", False)
DEBUG = switch("DEBUG", False) and not PRODUCTION
# Written by run_portal while its broker runs; one left behind must not lead production astray.
if not PRODUCTION and (VAR_DIR / "local-broker.env").is_file():
    env.read_env(VAR_DIR / "local-broker.env")
ENVIRONMENT_NAME = env.str("ENVIRONMENT_NAME", "PROD" if PRODUCTION else "DEV")


def as_it_is(name: str) -> str:
    """The text of a variable, "" if it is not set. django-environ takes one that begins with $ for the name of another variable."""
    return os.environ.get(name, "")


def secret_key() -> str:
    """SECRET_KEY from the environment; outside production one made once and kept in the var folder.

    Raises ImproperlyConfigured in production when it is not set.
    """
    key = as_it_is("SECRET_KEY")
    if key:
        return key
    if PRODUCTION:
        raise ImproperlyConfigured("SECRET_KEY is not set. Set it to 50 or more random characters, from a secret store.")
    path = VAR_DIR / "secret_key"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(get_random_secret_key())
    return path.read_text()


SECRET_KEY = secret_key()
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[] if PRODUCTION else ["localhost", "127.0.0.1", "[::1]"])
if PRODUCTION and not ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS is not set. Set it to the host names the portal answers to, separated by commas.")
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "trades",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "csp",
    "axes",
]

MIDDLEWARE = [
    "trades.web.request_ids.RequestIds",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "trades.web.sign_in.RequireSignIn",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "tradeportal.urls"
WSGI_APPLICATION = "tradeportal.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "libraries": {"lucide": "trades.templatetags.icons"},
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "trades.web.context.shell",
            ],
        },
    },
]

# Database

DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'portal.sqlite3'}")}
_database = DATABASES["default"]
_options = _database.setdefault("OPTIONS", {})
if _database["ENGINE"].endswith("sqlite3"):
    _database["CONN_MAX_AGE"] = 300
    _options.update(
        transaction_mode="IMMEDIATE",
        timeout=20,
        init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit=27103364; "
        "PRAGMA cache_size=-20000; PRAGMA mmap_size=33554432;",
    )
else:
    # A worker that is asked to stop waits no longer than this for a database that is away.
    _options.setdefault("pool", {"min_size": 1, "max_size": whole_number("DATABASE_POOL_SIZE", 8), "timeout": 10})
    # A server that has gone without a word is noticed within half a minute; a socket of this machine takes no notice of these.
    for _name, _value in {
        "connect_timeout": 5,  # s
        "tcp_user_timeout": 30_000,  # ms
        "keepalives": 1,
        "keepalives_idle": 15,  # s
        "keepalives_interval": 5,  # s
        "keepalives_count": 3,
    }.items():
        _options.setdefault(_name, _value)
    _database["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# People

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "blotter"
LOGOUT_REDIRECT_URL = "login"
AXES_FAILURE_LIMIT = whole_number("LOGIN_FAILURE_LIMIT", 5)
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "trades.web.sign_in.locked_out"
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False

# What the browser may do: nothing but what this site serves. No inline script or style anywhere.

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "trades.web.errors.csrf_failure"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_AGE = 12 * 60 * 60
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = PRODUCTION
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = PRODUCTION
if switch("BEHIND_TLS_PROXY", False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# Static files, times, words

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
WHITENOISE_USE_FINDERS = not PRODUCTION
if not PRODUCTION:
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

# The portal. boto3's own variables (AWS_ENDPOINT_URL_SQS, AWS_REGION, profiles, roles) choose the broker.

TRADES_QUEUE = env.str("TRADES_QUEUE", "TradeStatus.fifo")
TRADES_DEAD_LETTER_QUEUE = env.str("TRADES_DEAD_LETTER_QUEUE", "TradeStatusDeadLetter.fifo")
_queues_file = env.str("TRADES_QUEUES_FILE", "")
TRADES_QUEUES_FILE = str(BASE_DIR / _queues_file) if _queues_file else ""
TRADES_PAYLOAD_BUCKET = env.str("TRADES_PAYLOAD_BUCKET", "").strip()
TRADES_PAYLOAD_BUCKETS = [TRADES_PAYLOAD_BUCKET, *(name.strip() for name in env.list("TRADES_PAYLOAD_BUCKETS", default=[]))]
TRADES_MAX_DOCUMENT_BYTES = whole_number("TRADES_MAX_DOCUMENT_BYTES", 64 * 1024 * 1024)
TRADES_MAX_UPLOAD_FILES = whole_number("TRADES_MAX_UPLOAD_FILES", 500)
TRADES_LIVE_STREAMS = whole_number("TRADES_LIVE_STREAMS", 16)
TRADES_HOLD = switch("TRADES_HOLD", True)
TRADES_STATUS_LIMITS = lengths("TRADES_STATUS_LIMITS", "RECEIVED=30m,CHECKED=2h,ALLEGED=30m,DISPUTED=1h,REJECTED=4h")
_dialects = env.str("TRADES_DIALECTS_DIR", "")
TRADES_DIALECTS_DIR = str(BASE_DIR / _dialects) if _dialects else ""

# Of a form without its files, which go to disk.
DATA_UPLOAD_MAX_MEMORY_SIZE = min(TRADES_MAX_DOCUMENT_BYTES, 10 * 1024 * 1024) + 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FILES = TRADES_MAX_UPLOAD_FILES
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler", "trades.web.sent_files.CappedFiles"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime}Z {levelname} {name}: {message}{request_id}", "style": "{", "()": "trades.logs.UtcFormatter"}
    },
    "filters": {"request": {"()": "trades.web.request_ids.NamesTheRequest"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request"]}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", "INFO")},
    "loggers": {
        "botocore": {"level": "WARNING"},
        "axes": {"level": "WARNING"},
        "psycopg.pool": {"level": "ERROR"},
        "django.request": {"level": "ERROR"},
    },
}
