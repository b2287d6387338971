"""The lifecycle of client certificates with the official Python SDK.

Reads SHIELDCERT_BASE_URL, SHIELDCERT_TOKEN and SHIELDCERT_ZONE, and SHIELDCERT_CA, the file with the CA's
certificate. Prints a line for each step and stops at the first failure.
"""

import os
import time
from pathlib import Path

import cloudflare
from cloudflare import Cloudflare
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BASE_URL = os.environ["SHIELDCERT_BASE_URL"]
TOKEN = os.environ["SHIELDCERT_TOKEN"]
ZONE = os.environ["SHIELDCERT_ZONE"]
CA = x509.load_pem_x509_certificate(Path(os.environ["SHIELDCERT_CA"]).read_bytes())

CERTIFICATES = 12
PER_PAGE = 5
DEADLINE = 20.0


def check(holds, message):
    # Not `assert`, which python -O leaves out.
    if not holds:
        raise SystemExit(f"FAILED: {message}")


def equal(actual, expected, what):
    check(actual == expected, f"{what} is {actual!r} instead of {expected!r}")


def connect(token):
    # Without retries, so that a call that fails once is seen to fail.
    return Cloudflare(api_token=token, base_url=BASE_URL, max_retries=0, timeout=DEADLINE)


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


def until(client, certificate_id, status):
    """Polls until the certificate has this status."""
    deadline = time.monotonic() + DEADLINE
    while True:
        seen = client.client_certificates.get(certificate_id, zone_id=ZONE).status
        if seen == status:
            return
        check(time.monotonic() < deadline, f"{certificate_id} is still {seen}, not {status}")
        time.sleep(0.05)


def refused(what, exception, code, call):
    """Checks that the call raises this exception of the SDK, with this error code of the API."""
    try:
        response = call()
    except exception as error:
        equal([each.code for each in error.errors], [code], f"{what}: the error code")
        check("cf-ray" in error.response.headers, f"{what}: the response has no cf-ray header")
        print(f"refused: {what}: {type(error).__name__}, code {code}")
    except cloudflare.CloudflareError as error:
        check(False, f"{what}: {type(error).__name__} instead of {exception.__name__}: {error}")
    else:
        check(False, f"{what}: no error, but {response!r}")


def main():
    client = connect(TOKEN)
    certificates = client.client_certificates

    key, csr = key_and_csr("sensor-000")
    issued = certificates.create(zone_id=ZONE, csr=csr, validity_days=30)
    equal(issued.status, "active", "the status of a new certificate")
    equal(issued.common_name, "sensor-000", "its common name")
    equal(issued.organization, "Temperature Testers, Inc.", "its organization")
    equal(issued.validity_days, 30, "its validity")
    equal(issued.csr.splitlines(), csr.splitlines(), "its CSR")
    certificate = x509.load_pem_x509_certificate(issued.certificate.encode())
    certificate.verify_directly_issued_by(CA)
    equal(certificate.public_key(), key.public_key(), "the certificate's key")
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    equal(list(usages), [ExtendedKeyUsageOID.CLIENT_AUTH], "what the certificate is for")
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    equal(issued.fingerprint_sha256.lower(), fingerprint, "its fingerprint")
    print(f"created {issued.id}, which the CA signed")

    ids = [issued.id]
    for number in range(1, CERTIFICATES):
        _, csr = key_and_csr(f"sensor-{number:03}")
        ids.append(certificates.create(zone_id=ZONE, csr=csr, validity_days=30).id)
    equal(len(set(ids)), CERTIFICATES, "the number of ids")
    print(f"created {CERTIFICATES - 1} more")

    pages = list(certificates.list(zone_id=ZONE, per_page=PER_PAGE).iter_pages())
    sizes = [len(page.result) for page in pages]
    check(max(sizes) == PER_PAGE and len(sizes) >= 3, f"the pages hold {sizes} certificates")
    listed = [each.id for each in certificates.list(zone_id=ZONE, per_page=PER_PAGE)]
    equal(len(listed), len(set(listed)), "the number of different ids on the list")
    equal(set(ids) - set(listed), set(), "what the list lacks")
    print(f"listed {len(listed)} certificates on {len(pages)} pages")

    got = certificates.get(issued.id, zone_id=ZONE)
    equal(got, issued, "the certificate that was got")
    print(f"got {got.id}")

    deleted = certificates.delete(issued.id, zone_id=ZONE)
    equal(deleted.status, "pending_revocation", "the status after a delete")
    until(client, issued.id, "revoked")
    revoked = [each.id for each in certificates.list(zone_id=ZONE, status="revoked")]
    check(issued.id in revoked, f"the list of the revoked lacks {issued.id}: {revoked}")
    print(f"deleted {issued.id}: pending_revocation, then revoked")

    edited = certificates.edit(issued.id, zone_id=ZONE, reactivate=True)
    equal(edited.status, "pending_reactivation", "the status after an edit")
    until(client, issued.id, "active")
    print(f"edited {issued.id}: pending_reactivation, then active")

    unknown = "f" * 32
    _, csr = key_and_csr("refused")

    def create(**changed):
        arguments = {"zone_id": ZONE, "csr": csr, "validity_days": 30} | changed
        return certificates.create(**arguments)

    denied, missing, bad = (
        cloudflare.PermissionDeniedError,
        cloudflare.NotFoundError,
        cloudflare.BadRequestError,
    )
    unauthorized = connect("wrong").client_certificates
    mangled = connect("two words").client_certificates
    for what, exception, code, call in [
        ("a wrong token", denied, 10000, lambda: unauthorized.get(issued.id, zone_id=ZONE)),
        ("a malformed token", bad, 6003, lambda: mangled.list(zone_id=ZONE)),
        ("an unknown id, get", missing, 1401, lambda: certificates.get(unknown, zone_id=ZONE)),
        ("an unknown id, delete", missing, 1401, lambda: certificates.delete(unknown, zone_id=ZONE)),
        ("an unknown id, edit", missing, 1401, lambda: certificates.edit(unknown, zone_id=ZONE, reactivate=True)),
        ("a malformed zone id", missing, 7003, lambda: certificates.list(zone_id="short")),
        ("a bad CSR", bad, 1402, lambda: create(csr="nonsense")),
        ("a bad validity", bad, 1403, lambda: create(validity_days=0)),
        ("a page that is too large", bad, 6009, lambda: certificates.list(zone_id=ZONE, per_page=51)),
        ("an edit without reactivate", bad, 1404, lambda: certificates.edit(issued.id, zone_id=ZONE, reactivate=False)),
    ]:
        refused(what, exception, code, call)


main()
