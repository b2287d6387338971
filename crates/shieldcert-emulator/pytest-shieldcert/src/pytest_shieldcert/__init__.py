"""A pytest fixture with an emulator of Cloudflare API Shield's ``client_certificates`` service."""

from ._emulator import Emulator, EmulatorError
from ._plugin import pytest_addoption, shieldcert_emulator, shieldcert_emulator_session

__all__ = [
    "Emulator",
    "EmulatorError",
    "pytest_addoption",
    "shieldcert_emulator",
    "shieldcert_emulator_session",
]
