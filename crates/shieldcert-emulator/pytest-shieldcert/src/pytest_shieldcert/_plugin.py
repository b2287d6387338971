"""The fixtures, and the settings of pytest."""

from __future__ import annotations

import os
import shlex
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from ._emulator import Emulator, EmulatorError, run


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the settings."""
    group = parser.getgroup("shieldcert")
    group.addoption(
        "--shieldcert-command",
        metavar="PATH",
        help="the command `shieldcert`, instead of the installed one",
    )
    parser.addini("shieldcert_options", "more options of `shieldcert emulator`", default="")


@pytest.fixture(scope="session")
def shieldcert_emulator_session(pytestconfig: pytest.Config) -> Iterator[Emulator]:
    """The emulator of this session, for fixtures that live as long."""
    options = shlex.split(str(pytestconfig.getini("shieldcert_options")))
    with run(_command(pytestconfig), options) as emulator:
        yield emulator


@pytest.fixture
def shieldcert_emulator(shieldcert_emulator_session: Emulator) -> Emulator:
    """An emulator of Cloudflare API Shield's ``client_certificates``, empty at the start of each test."""
    shieldcert_emulator_session.reset()
    return shieldcert_emulator_session


def _command(config: pytest.Config) -> str:
    named = config.getoption("--shieldcert-command") or os.environ.get("SHIELDCERT_COMMAND")
    if named:
        return str(named)
    # Where pip has put it, also if the environment is not activated.
    installed = shutil.which("shieldcert", path=str(Path(sysconfig.get_path("scripts"))))
    found = installed or shutil.which("shieldcert")
    if not found:
        raise EmulatorError(
            "the command `shieldcert` is not installed; install it with `pip install shieldcert`, or name it with "
            "--shieldcert-command or SHIELDCERT_COMMAND"
        )
    return found
