"""The lifecycle of client certificates with the official Python SDK, against the emulator of pytest-shieldcert."""

import time

import cloudflare
import pytest
from cloudflare import Cloudflare
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CERTIFICATES = 12
PER_PAGE = 5
DEADLINE = 20.0


def connect(emulator, token):
    # Without retries, so that a call that fails once is seen to fail.
    return Cloudflare(api_token=token, base_url=emulator.base_url, max_retries=0, timeout=DEADLINE)


@pytest.fixture
def certificates(shieldcert_emulator):
    return connect(shieldcert_emulator, shieldcert_emulator.token).client_certificates


@pytest.fixture
def zone(shieldcert_emulator):
    return shieldcert_emulator.zone_id


def key_and_csr(name):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Temperature Testers, Inc."),
        ]
    )
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return key, csr.public_bytes(serialization.Encoding.PEM).decode()


def until(certificates, zone, certificate_id, status):
    """Polls until the certificate has this status."""
    deadline = time.monotonic() + DEADLINE
    while (seen := certificates.get(certificate_id, zone_id=zone).status) != status:
        assert time.monotonic() < deadline, f"{certificate_id} is still {seen}, not {status}"
        time.sleep(0.05)


def test_a_certificate_is_the_one_that_was_asked_for(shieldcert_emulator, certificates, zone):
    key, csr = key_and_csr("sensor-000")
    issued = certificates.create(zone_id=zone, csr=csr, validity_days=30)
    assert issued.status == "active"
    assert issued.common_name == "sensor-000"
    assert issued.organization == "Temperature Testers, Inc."
    assert issued.validity_days == 30
    assert issued.csr.splitlines() == csr.splitlines()
    certificate = x509.load_pem_x509_certificate(issued.certificate.encode())
    ca = x509.load_pem_x509_certificate(shieldcert_emulator.ca_pem.encode())
    certificate.verify_directly_issued_by(ca)
    assert certificate.public_key() == key.public_key()
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert issued.fingerprint_sha256.lower() == certificate.fingerprint(hashes.SHA256()).hex()
    assert certificates.get(issued.id, zone_id=zone) == issued


def test_a_list_has_all_on_several_pages(certificates, zone):
    ids = set()
    for number in range(CERTIFICATES):
        _, csr = key_and_csr(f"sensor-{number:03}")
        ids.add(certificates.create(zone_id=zone, csr=csr, validity_days=30).id)
    assert len(ids) == CERTIFICATES
    pages = list(certificates.list(zone_id=zone, per_page=PER_PAGE).iter_pages())
    sizes = [len(page.result) for page in pages]
    assert max(sizes) == PER_PAGE and len(sizes) >= 3
    listed = [each.id for each in certificates.list(zone_id=zone, per_page=PER_PAGE)]
    assert len(listed) == CERTIFICATES
    assert set(listed) == ids


def test_a_certificate_is_revoked_and_reactivated(certificates, zone):
    _, csr = key_and_csr("sensor-000")
    issued = certificates.create(zone_id=zone, csr=csr, validity_days=30)
    assert certificates.delete(issued.id, zone_id=zone).status == "pending_revocation"
    until(certificates, zone, issued.id, "revoked")
    assert [each.id for each in certificates.list(zone_id=zone, status="revoked")] == [issued.id]
    edited = certificates.edit(issued.id, zone_id=zone, reactivate=True)
    assert edited.status == "pending_reactivation"
    until(certificates, zone, issued.id, "active")


DENIED, MISSING, BAD = (
    cloudflare.PermissionDeniedError,
    cloudflare.NotFoundError,
    cloudflare.BadRequestError,
)
UNKNOWN = "f" * 32


@pytest.mark.parametrize(
    ("exception", "code", "call"),
    [
        pytest.param(MISSING, 1401, lambda c, zone, _: c.get(UNKNOWN, zone_id=zone), id="unknown-get"),
        pytest.param(MISSING, 1401, lambda c, zone, _: c.delete(UNKNOWN, zone_id=zone), id="unknown-delete"),
        pytest.param(
            MISSING, 1401, lambda c, zone, _: c.edit(UNKNOWN, zone_id=zone, reactivate=True), id="unknown-edit"
        ),
        pytest.param(MISSING, 7003, lambda c, *_: c.list(zone_id="short"), id="malformed-zone"),
        pytest.param(
            BAD, 1402, lambda c, zone, _: c.create(zone_id=zone, csr="nonsense", validity_days=30), id="bad-csr"
        ),
        pytest.param(
            BAD, 1403, lambda c, zone, csr: c.create(zone_id=zone, csr=csr, validity_days=0), id="bad-validity"
        ),
        pytest.param(BAD, 6009, lambda c, zone, _: c.list(zone_id=zone, per_page=51), id="large-page"),
        pytest.param(
            BAD, 1404, lambda c, zone, _: c.edit(UNKNOWN, zone_id=zone, reactivate=False), id="no-reactivate"
        ),
    ],
)
def test_a_refusal_is_the_exception_of_the_sdk(certificates, zone, exception, code, call):
    _, csr = key_and_csr("refused")
    refused(exception, code, lambda: call(certificates, zone, csr))


@pytest.mark.parametrize(("token", "exception", "code"), [("wrong", DENIED, 10000), ("two words", BAD, 6003)])
def test_a_wrong_token_is_refused(shieldcert_emulator, zone, token, exception, code):
    certificates = connect(shieldcert_emulator, token).client_certificates
    refused(exception, code, lambda: certificates.list(zone_id=zone))


def refused(exception, code, call):
    """Checks that the call raises this exception of the SDK, with this error code of the API."""
    with pytest.raises(exception) as caught:
        call()
    assert [each.code for each in caught.value.errors] == [code]
    assert "cf-ray" in caught.value.response.headers
