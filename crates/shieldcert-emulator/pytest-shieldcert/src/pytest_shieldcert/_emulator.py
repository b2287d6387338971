"""The process, and its control endpoints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

TOKEN = "a-token-for-tests"
ZONE_ID = "023e105f4ecef8ad9ca31a8372d0c353"

# No proxy reaches this machine's ports.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_TIMEOUT = 30.0
_BANNER = "listening on "
_EDGE = re.compile(r'edge="(https://[^"]+/)"')


class EmulatorError(RuntimeError):
    """The emulator did not start, or has refused a call of its control endpoints."""


@dataclass(frozen=True)
class Emulator:
    """A running emulator."""

    base_url: str
    """The base URL for a client of Cloudflare's API."""
    token: str
    """The API token that it accepts."""
    zone_id: str
    """A zone. Every other id of 32 hex digits is one, too."""
    ca_pem: str
    """The certificate of the CA, in PEM."""
    edge_url: str
    """The mTLS edge, which admits or blocks client certificates."""
    _control: str = field(repr=False)

    def script(self, *rules: str) -> None:
        """Appends rules to the script of faults, such as ``"create: lose-response"``."""
        self._call("POST", "script", "\n".join(rules))

    def pending_faults(self) -> list[str]:
        """Returns the rules of the script that still have faults to inject."""
        return self._call("GET", "script").splitlines()

    def chaos(self, faults: str) -> None:
        """Injects faults by chance, such as ``"lose-response=5%"``; ``""`` injects none."""
        self._call("PUT", "chaos", faults)

    def quirks(self, quirks: str) -> None:
        """Makes the service differ from a well-behaved one, such as ``"cap=25"``; ``""`` undoes it."""
        self._call("PUT", "quirks", quirks)

    def add_certificate(
        self,
        common_name: str,
        *,
        zone_id: str | None = None,
        status: str | None = None,
        issued_on: str | None = None,
        validity_days: int | None = None,
    ) -> dict[str, Any]:
        """Adds a certificate, also one that has expired or is revoked, and returns its record.

        ``issued_on`` is a time in RFC 3339. Nobody holds the key.
        """
        members = {
            "common_name": common_name,
            "status": status,
            "issued_on": issued_on,
            "validity_days": validity_days,
        }
        body = json.dumps({name: value for name, value in members.items() if value is not None})
        zone = self.zone_id if zone_id is None else zone_id
        records = json.loads(self._call("POST", f"zones/{zone}/client_certificates", body))
        record: dict[str, Any] = records[0]
        return record

    def advance(self, time: str) -> None:
        """Moves the emulator's clock forward, such as by ``"90d"``."""
        self._call("POST", "clock", f"advance={time}")

    def history(self) -> list[dict[str, Any]]:
        """Returns the requests since the last reset, and their faults."""
        requests: list[dict[str, Any]] = json.loads(self._call("GET", "history"))
        return requests

    def reset(self) -> None:
        """Goes back to how the emulator started: no certificates, no faults, no history."""
        self._call("POST", "reset")

    def _call(self, method: str, endpoint: str, body: str = "") -> str:
        return _request(method, f"{self._control}/{endpoint}", body)


def _request(method: str, url: str, body: str = "") -> str:
    data = body.encode() if method in ("POST", "PUT") else None
    request = urllib.request.Request(url, data=data, method=method)
    try:
        with _OPENER.open(request, timeout=_TIMEOUT) as response:
            text: str = response.read().decode()
            return text
    except urllib.error.HTTPError as error:
        raise EmulatorError(f"{method} {url}: {error.read().decode().strip()}") from None
    except OSError as error:
        raise EmulatorError(f"{method} {url}: {error}; is the emulator still running?") from error


@contextmanager
def run(command: str, options: Sequence[str]) -> Iterator[Emulator]:
    """Runs ``command emulator`` on free ports, and stops it at the end."""
    arguments = [command, "emulator", "--listen", "127.0.0.1:0", "--edge", "127.0.0.1:0"]
    arguments += ["--control", "--token", TOKEN, "--rate-limit", "off", "--log", "info"]
    if os.name == "posix":
        arguments.append("--exit-with-parent")
    arguments += options
    # A file, because a pipe that nobody reads is full at some time.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        try:
            process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8")
        except OSError as error:
            raise EmulatorError(
                f"{command}: can't be run: {error}; install it with `pip install shieldcert`, or name it with "
                "--shieldcert-command or SHIELDCERT_COMMAND"
            ) from error
        try:
            yield _wait(process, log)
        finally:
            _stop(process)


def _wait(process: subprocess.Popen[str], log: IO[str]) -> Emulator:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith(_BANNER):
        process.wait(timeout=_TIMEOUT)
        raise EmulatorError(f"the emulator did not start:\n{_read(log).strip()}")
    base_url = line.removeprefix(_BANNER).strip()
    control = base_url.removesuffix("/client/v4") + "/__shieldcert"
    ca_pem = _request("GET", f"{control}/ca.pem")
    return Emulator(base_url, TOKEN, ZONE_ID, ca_pem, _edge(log), control)


def _edge(log: IO[str]) -> str:
    """Finds the address of the edge in the log, where its line is on the way once the emulator is ready."""
    end = time.monotonic() + _TIMEOUT
    while time.monotonic() < end:
        found = _EDGE.search(_read(log))
        if found:
            return found[1]
        time.sleep(0.01)
    raise EmulatorError(f"the log does not name the address of the edge:\n{_read(log).strip()}")


def _read(log: IO[str]) -> str:
    log.seek(0)
    return log.read()


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
