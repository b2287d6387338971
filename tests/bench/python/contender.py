"""The official Python SDK, used as its documentation shows: one call after another, with its own pagination.

Takes the same tasks as the other contenders, and prints what it found as a line of JSON. The service is what
CLOUDFLARE_BASE_URL, CLOUDFLARE_API_TOKEN and CLOUDFLARE_ZONE_ID state.
"""

import json
import os
import sys
import time
from pathlib import Path

from cloudflare import Cloudflare

ZONE = os.environ["CLOUDFLARE_ZONE_ID"]
PER_PAGE = 50
VALIDITY_DAYS = 30
POLL_INTERVAL = 1.0

client = Cloudflare()
certificates = client.client_certificates


class Tally:
    def __init__(self):
        self.count = 0
        self.checksum = 0

    def add(self, certificate):
        digits = [int(text.replace("-", "")[:12], 16) for text in (certificate.id, certificate.fingerprint_sha256)]
        self.count += 1
        self.checksum = (self.checksum + sum(digits)) % 2**48


def list_all(tally):
    for certificate in list(certificates.list(zone_id=ZONE, per_page=PER_PAGE)):
        tally.add(certificate)


def stream(tally):
    for certificate in certificates.list(zone_id=ZONE, per_page=PER_PAGE):
        tally.add(certificate)


def ids(tally, file):
    with open(file, "w") as out:
        for certificate in certificates.list(zone_id=ZONE, per_page=PER_PAGE):
            print(certificate.id, file=out)
            tally.add(certificate)


def issue(tally, count, folder):
    # Imported here, because the time to start is measured, too.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    for number in range(int(count)):
        path = Path(folder) / f"{number:05}.pem"
        if path.exists() and path.stat().st_size > 0:
            continue
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"device-{number:05}")])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
        csr = request.public_bytes(serialization.Encoding.PEM).decode()
        issued = certificates.create(zone_id=ZONE, csr=csr, validity_days=VALIDITY_DAYS)
        if x509.load_pem_x509_certificate(issued.certificate.encode()).public_key() != key.public_key():
            raise SystemExit("the certificate is not for this key")
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "wb") as out:
            out.write(issued.certificate.encode())
            out.write(pem)
        tally.add(issued)


def revoke(tally, file):
    pending = Path(file).read_text().split()
    for certificate_id in pending:
        certificates.delete(certificate_id, zone_id=ZONE)
    while pending:
        time.sleep(POLL_INTERVAL)
        seen = [certificates.get(certificate_id, zone_id=ZONE) for certificate_id in pending]
        pending = []
        for certificate in seen:
            if certificate.status == "revoked":
                tally.add(certificate)
            elif certificate.status == "pending_revocation":
                pending.append(certificate.id)
            else:
                raise SystemExit(f"a certificate is {certificate.status}")


def get(tally, certificate_id, times):
    for _ in range(int(times)):
        tally.add(certificates.get(certificate_id, zone_id=ZONE))


TASKS = {"list": list_all, "stream": stream, "ids": ids, "issue": issue, "revoke": revoke, "get": get}
task, *arguments = sys.argv[1:]
tally = Tally()
TASKS[task](tally, *arguments)
print(json.dumps({"count": tally.count, "checksum": tally.checksum}))
