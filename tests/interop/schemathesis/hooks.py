"""Where the spec, taken at its word, says something else than the service does.

The spec is upstream's, right or wrong. Each change below states its reason; the rest is checked as it stands.
What a change narrows is still tested from the other side: a value outside of it has to be refused.
"""

import copy
import os

import requests
import schemathesis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import strategies

LIST = "/zones/{zone_id}/client_certificates"
ONE = LIST + "/{client_certificate_id}"


def csr(key, digest, name):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signed = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, digest)
    return signed.public_bytes(serialization.Encoding.PEM).decode()


CSRS = [
    csr(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256(), "sensor-001"),
    csr(ec.generate_private_key(ec.SECP384R1()), hashes.SHA384(), "sensor-002"),
    csr(ed25519.Ed25519PrivateKey.generate(), None, "sensor-003"),
    csr(rsa.generate_private_key(65537, 2048), hashes.SHA256(), "sensor-004"),
]
schemathesis.openapi.format("csr", strategies.sampled_from(CSRS))


@schemathesis.hook
def before_load_schema(context, raw_schema):
    paths = raw_schema["paths"]

    # Nothing can satisfy create's own failure schema, which demands a success and a failure at once. Its failures are
    # checked against the schema of the other operations.
    failure = paths[LIST]["post"]["responses"]["4XX"]["content"]["application/json"]
    failure["schema"] = {"$ref": "#/components/schemas/api-response-common-failure"}

    # The spec accepts any string as a CSR and any number as a validity.
    body = paths[LIST]["post"]["requestBody"]["content"]["application/json"]["schema"]
    body["properties"] = {
        "csr": {"type": "string", "format": "csr"},
        "validity_days": {"type": "integer", "minimum": 1, "maximum": 5475},
    }

    # An edit can only request a reactivation.
    body = paths[ONE]["patch"]["requestBody"]["content"]["application/json"]["schema"]
    body["required"] = ["reactivate"]
    body["properties"]["reactivate"]["enum"] = [True]

    # Pages are whole numbers. The spec has no bounds for `limit` and `offset`, nor for the last page.
    largest = 2**53 - 1
    bounds = {
        "page": {"type": "integer", "maximum": largest},
        "per_page": {"type": "integer"},
        "limit": {"minimum": 1, "maximum": 1000},
        "offset": {"minimum": 0, "maximum": largest},
    }
    for parameter in paths[LIST]["get"]["parameters"]:
        parameter["schema"].update(bounds.get(parameter["name"], {}))

    # The spec accepts any string of up to 32 characters as an identifier. Nearly all of them identify nothing, and the
    # response is 404 for a malformed one as for an unknown one.
    identifier = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
    for operations in paths.values():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path":
                    parameter["schema"] = identifier

    # The spec has no links from the id in a response to the parameter of the next call. Without them, no state that
    # takes more than one call is reached.
    follow = {
        method: {
            "operationId": operation["operationId"],
            "parameters": {
                "path.zone_id": "$request.path.zone_id",
                "path.client_certificate_id": "$response.body#/result/id",
            },
            **({"requestBody": {"reactivate": True}} if method == "patch" else {}),
        }
        for method, operation in paths[ONE].items()
    }
    follow["list"] = {
        "operationId": paths[LIST]["get"]["operationId"],
        "parameters": {"path.zone_id": "$request.path.zone_id"},
    }
    for operation in [paths[LIST]["post"], *paths[ONE].values()]:
        operation["responses"]["200"]["links"] = copy.deepcopy(follow)


probed = set()


@schemathesis.check
def credentials_are_demanded(ctx, response, case):
    """Replaces `ignored_auth`, which accepts only 401 and 403 as refusals.

    The response to a request without a usable credential is 400 with code 6003, and to a wrong credential 403.
    """
    if not 200 <= response.status_code < 300:
        return
    sent = response.request
    token = sent.headers.get("Authorization")
    assert token == f"Bearer {os.environ['SHIELDCERT_TOKEN']}", "a made-up credential is accepted"
    if case.operation.label in probed:
        return
    probed.add(case.operation.label)
    credentials = {"authorization", "x-auth-email", "x-auth-key"}
    others = {name: value for name, value in sent.headers.items() if name.lower() not in credentials}
    for presented, expected in [
        ({}, (400, 6003)),
        ({"Authorization": "nonsense"}, (400, 6003)),
        ({"Authorization": "Bearer wrong"}, (403, 10000)),
        ({"X-Auth-Email": "nobody@example.com", "X-Auth-Key": "wrong"}, (403, 10000)),
    ]:
        refusal = requests.request(sent.method, sent.url, headers=others | presented, data=sent.body, timeout=20)
        seen = (refusal.status_code, refusal.json()["errors"][0]["code"])
        assert seen == expected, f"{case.operation.label} with {presented} gets {seen}, not {expected}"
