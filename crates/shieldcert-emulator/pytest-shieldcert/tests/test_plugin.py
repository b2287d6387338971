"""The plugin, in pytest sessions of their own."""

import json
import urllib.error
import urllib.request

import pytest

pytest_plugins = ["pytester"]

LIST = """
import json
import urllib.request

def listed(emulator):
    url = f"{emulator.base_url}/zones/{emulator.zone_id}/client_certificates"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {emulator.token}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        return [each["common_name"] for each in json.load(response)["result"]]
"""


def run(pytester, tests, *arguments):
    pytester.makepyfile(LIST + tests)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)


def test_each_test_starts_from_an_empty_emulator(pytester):
    result = run(
        pytester,
        """
def test_one(shieldcert_emulator):
    shieldcert_emulator.add_certificate("sensor-001", status="revoked")
    shieldcert_emulator.script("list: html", "create: lose-response")
    shieldcert_emulator.quirks("cap=25")
    shieldcert_emulator.chaos("html=100%")

def test_two(shieldcert_emulator):
    assert listed(shieldcert_emulator) == []
    assert shieldcert_emulator.pending_faults() == []
    assert len(shieldcert_emulator.history()) == 1
""",
    )
    result.assert_outcomes(passed=2)


def test_a_session_fixture_keeps_what_was_added(pytester):
    result = run(
        pytester,
        """
def test_one(shieldcert_emulator_session):
    shieldcert_emulator_session.add_certificate("sensor-001")

def test_two(shieldcert_emulator_session):
    assert listed(shieldcert_emulator_session) == ["sensor-001"]
""",
    )
    result.assert_outcomes(passed=2)


def test_faults_quirks_and_the_clock_are_those_of_the_emulator(shieldcert_emulator):
    emulator = shieldcert_emulator
    emulator.script("list@2: 502-before", "create: lose-response")
    assert emulator.pending_faults() == ["list@2: 502-before", "create: lose-response"]
    record = emulator.add_certificate(
        "sensor-001", issued_on="2026-01-31T00:00:00Z", validity_days=30
    )
    assert record["common_name"] == "sensor-001"
    assert record["issued_on"] == "2026-01-31T00:00:00Z"
    emulator.quirks("cap=25")
    emulator.chaos("html=1%")
    emulator.advance("90d")
    assert emulator.ca_pem.startswith("-----BEGIN CERTIFICATE-----")
    assert emulator.edge_url.startswith("https://127.0.0.1:")


def test_an_unknown_fault_is_named(shieldcert_emulator):
    import pytest_shieldcert

    with pytest.raises(pytest_shieldcert.EmulatorError, match="lose-everything"):
        shieldcert_emulator.script("create: lose-everything")


def test_the_token_is_asked_for(shieldcert_emulator):
    url = f"{shieldcert_emulator.base_url}/zones/{shieldcert_emulator.zone_id}/client_certificates"
    request = urllib.request.Request(url, headers={"Authorization": "Bearer wrong"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as refusal:
        opener.open(request, timeout=30)
    assert json.load(refusal.value)["errors"][0]["code"] == 10000


def test_options_reach_the_emulator(pytester):
    pytester.makeini("[pytest]\nshieldcert_options = --populate 3 --quota 100\n")
    result = run(
        pytester,
        """
def test_one(shieldcert_emulator):
    assert len(listed(shieldcert_emulator)) == 3
""",
    )
    result.assert_outcomes(passed=1)


def test_an_option_that_does_not_exist_is_an_error_that_says_so(pytester):
    pytester.makeini("[pytest]\nshieldcert_options = --frobnicate\n")
    result = run(pytester, "\ndef test_one(shieldcert_emulator):\n    pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the emulator did not start*", "*--frobnicate*"])


def test_a_command_that_is_not_there_is_an_error_that_says_what_to_do(pytester):
    result = run(
        pytester,
        "\ndef test_one(shieldcert_emulator):\n    pass\n",
        "--shieldcert-command=/nonexistent/shieldcert",
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*/nonexistent/shieldcert*pip install shieldcert*"])


def test_each_worker_of_xdist_has_an_emulator_of_its_own(pytester):
    pytest.importorskip("xdist")
    result = run(
        pytester,
        """
import pathlib
import pytest

@pytest.mark.parametrize("number", range(8))
def test_one(shieldcert_emulator, number, worker_id):
    pathlib.Path(f"{worker_id}.url").write_text(shieldcert_emulator.base_url)
    shieldcert_emulator.add_certificate(f"sensor-{number}")
    assert listed(shieldcert_emulator) == [f"sensor-{number}"]
""",
        "-n2",
    )
    result.assert_outcomes(passed=8)
    urls = {path.read_text() for path in pytester.path.glob("gw*.url")}
    assert len(urls) == len(list(pytester.path.glob("gw*.url"))) == 2


def test_the_emulator_ends_with_the_session(pytester):
    result = run(
        pytester,
        """
def test_one(shieldcert_emulator):
    with open("url", "w") as file:
        file.write(shieldcert_emulator.base_url)
""",
    )
    result.assert_outcomes(passed=1)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(OSError):
        opener.open((pytester.path / "url").read_text(), timeout=5)
