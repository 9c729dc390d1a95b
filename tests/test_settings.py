"""Settings: documented one by one, safe in production, and working with nothing set."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "tradeportal" / "settings.py"
DOCUMENT = ROOT / "docs" / "settings.md"
PRODUCTION = {"PRODUCTION": "on", "SECRET_KEY": "s" * 60, "ALLOWED_HOSTS": "trades.example.com"}


def variables() -> set[str]:
    """Every environment variable that settings.py reads: the first argument of each env.str(...), switch(...) and so on."""
    calls = [node for node in ast.walk(ast.parse(SOURCE.read_text())) if isinstance(node, ast.Call) and node.args]
    return {
        call.args[0].value
        for call in calls
        if (
            call.func.id in ("switch", "whole_number", "lengths", "as_it_is")
            if isinstance(call.func, ast.Name)
            else isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) and call.func.value.id == "env"
        )
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    }


def load(folder: Path, what: str = "None", **environment: str) -> subprocess.CompletedProcess[str]:
    """Load the settings in a checkout of their own with nothing but `environment` set, and print the expression `what` about them."""
    shutil.copytree(SOURCE.parent, folder / "tradeportal", dirs_exist_ok=True)
    code = f"from tradeportal import settings\nprint({what})"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_every_setting_has_its_heading_in_the_documentation() -> None:
    headings = set(re.findall(r"^### (\w+)$", DOCUMENT.read_text(), re.MULTILINE))

    assert headings == variables()


@pytest.mark.parametrize("name", sorted(variables()))
def test_a_setting_is_described_with_default_and_example(name: str) -> None:
    section = re.split(r"^#+ .*$", DOCUMENT.read_text().split(f"### {name}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]

    assert "efault" in section or "Required" in section
    assert re.search(rf"Examples?:\s.*`{name}=", section, re.DOTALL)


def test_the_example_file_names_every_setting() -> None:
    example = (ROOT / ".env.example").read_text()

    assert {name for name in variables() if name not in example} == set()


def test_nothing_needs_to_be_set_outside_production(tmp_path: Path) -> None:
    loaded = load(tmp_path, "settings.DEBUG, settings.PRODUCTION, settings.ENVIRONMENT_NAME")

    assert loaded.stdout.strip() == "False False DEV", loaded.stderr


def test_the_secret_key_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    first, second = load(tmp_path, "settings.SECRET_KEY"), load(tmp_path, "settings.SECRET_KEY")

    assert len(first.stdout.strip()) >= 50
    assert first.stdout == second.stdout
    assert (tmp_path / "var" / "secret_key").stat().st_mode & 0o777 == 0o600


def test_a_secret_key_is_taken_as_it_is_whatever_it_begins_with(tmp_path: Path) -> None:
    key = "$" + "k" * 59

    loaded = load(tmp_path, "settings.SECRET_KEY", **PRODUCTION | {"SECRET_KEY": key})

    assert loaded.stdout.strip() == key, loaded.stderr


@pytest.mark.parametrize("missing", ["SECRET_KEY", "ALLOWED_HOSTS"])
def test_production_names_what_is_not_set(tmp_path: Path, missing: str) -> None:
    loaded = load(tmp_path, **{name: value for name, value in PRODUCTION.items() if name != missing})

    assert loaded.returncode != 0
    assert f"{missing} is not set. Set it to " in loaded.stderr


def test_production_switches_the_safeties_on(tmp_path: Path) -> None:
    names = ("SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "DEBUG", "ENVIRONMENT_NAME")
    loaded = load(tmp_path, ", ".join(f"settings.{name}" for name in names), **PRODUCTION)

    assert loaded.stdout.strip() == "True True True False PROD", loaded.stderr


def test_a_database_url_keeps_its_socket_folder(tmp_path: Path) -> None:
    url = "postgresql://portal@/trades?host=/run/postgresql"
    loaded = load(tmp_path, "settings.DATABASES['default']['OPTIONS']['host'], settings.DATABASES['default']['NAME']", DATABASE_URL=url)

    assert loaded.stdout.strip() == "/run/postgresql trades", loaded.stderr


def test_what_is_set_wins_over_the_local_broker(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "local-broker.env").write_text("AWS_ENDPOINT_URL_SQS=http://127.0.0.1:4566\nAWS_REGION=us-east-1\n")
    loaded = load(tmp_path, "[settings.env.str(name) for name in ('AWS_ENDPOINT_URL_SQS', 'AWS_REGION')]", AWS_REGION="eu-west-1")

    assert loaded.stdout.strip() == "['http://127.0.0.1:4566', 'eu-west-1']", loaded.stderr


def test_the_environment_wins_over_the_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ENVIRONMENT_NAME=UAT\nLOG_LEVEL=WARNING\n")
    loaded = load(tmp_path, "settings.ENVIRONMENT_NAME, settings.LOGGING['root']['level']", LOG_LEVEL="ERROR")

    assert loaded.stdout.strip() == "UAT ERROR", loaded.stderr


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("PRODUCTION", "enabled", "on or off"), ("TRADES_HOLD", "maybe", "on or off"), ("TRADES_MAX_DOCUMENT_BYTES", "abc", "whole number")],
)
def test_a_value_that_can_not_be_meant_is_refused_by_name(tmp_path: Path, name: str, value: str, expected: str) -> None:
    loaded = load(tmp_path, **{name: value})

    assert loaded.returncode != 0
    last = loaded.stderr.strip().splitlines()[-1]
    assert name in last
    assert expected in last


def test_production_takes_neither_debug_nor_a_local_broker_left_behind(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "local-broker.env").write_text("AWS_ENDPOINT_URL_SQS=http://127.0.0.1:4566\n")

    loaded = load(tmp_path, "(settings.DEBUG, settings.env.str('AWS_ENDPOINT_URL_SQS', 'none'))", **PRODUCTION, DEBUG="on")

    assert loaded.stdout.strip() == "(False, 'none')", loaded.stderr
