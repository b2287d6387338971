#!/usr/bin/env bash
# The lifecycle of client certificates with openssl, curl and jq.
#
# Reads SHIELDCERT_BASE_URL, SHIELDCERT_TOKEN and SHIELDCERT_ZONE, and SHIELDCERT_CA, the file with the CA's
# certificate. If SHIELDCERT_EDGE (host:port) is set, the edge there must admit the certificate while it is active.
# Prints a line for each step and stops at the first failure. Runs on the bash 3.2 of macOS too.
set -euo pipefail

certificates=$SHIELDCERT_BASE_URL/zones/$SHIELDCERT_ZONE/client_certificates
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

equal() { # what actual expected
  [[ $2 == "$3" ]] || fail "$1 is '$2' instead of '$3'"
}

# Calls with a token. Writes the response to $work/response, its headers to $work/headers, and its HTTP status to $http.
call_as() { # token method url [body]
  local body=()
  [[ $# -lt 4 ]] || body=(--header 'Content-Type: application/json' --data "$4")
  http=$(curl --silent --show-error --max-time 20 --request "$2" --header "Authorization: Bearer $1" \
    --dump-header "$work/headers" --output "$work/response" --write-out '%{http_code}' ${body[@]+"${body[@]}"} "$3")
}

field() { jq --raw-output "$1" "$work/response"; }

succeed() { # what, then as call_as after its token
  local what=$1
  shift
  call_as "$SHIELDCERT_TOKEN" "$@"
  equal "$what: the HTTP status" "$http" 200
  equal "$what: success" "$(field .success)" true
}

refuse() { # what status code token, then as call_as after its token
  local what=$1 status=$2 code=$3
  shift 3
  call_as "$@"
  equal "$what: the HTTP status" "$http" "$status"
  equal "$what: success" "$(field .success)" false
  equal "$what: the error code" "$(field '.errors[0].code')" "$code"
  grep -qi '^cf-ray: ' "$work/headers" || fail "$what: the response has no cf-ray header"
  echo "refused: $what: HTTP $status, code $code"
}

key_and_csr() { # name
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/O=Temperature Testers, Inc./CN=$1" \
    -keyout "$work/$1.key" -out "$work/$1.csr" 2>/dev/null
}

request() { # name days
  jq --null-input --rawfile csr "$work/$1.csr" --argjson days "$2" '{csr: $csr, validity_days: $days}'
}

settle() { # id status
  local tries
  for ((tries = 0; tries < 200; tries += 1)); do
    succeed "get $1" GET "$certificates/$1"
    [[ $(field .result.status) != "$2" ]] || return 0
    sleep 0.1
  done
  fail "$1 is still $(field .result.status), not $2"
}

# Checks the HTTP status of the edge's response, to curl and to openssl's own TLS client.
request_edge() { # status
  [[ -n ${SHIELDCERT_EDGE:-} ]] || return 0
  local status identity=(--cert "$work/sensor-000.pem" --key "$work/sensor-000.key")
  status=$(curl --silent --show-error --max-time 20 --cacert "$SHIELDCERT_CA" "${identity[@]}" \
    --output "$work/edge" --write-out '%{http_code}' "https://$SHIELDCERT_EDGE/")
  equal "the edge's HTTP status" "$status" "$1"
  printf 'GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$SHIELDCERT_EDGE" |
    openssl s_client -quiet -connect "$SHIELDCERT_EDGE" -CAfile "$SHIELDCERT_CA" -verify_return_error \
      -cert "$work/sensor-000.pem" -key "$work/sensor-000.key" >"$work/edge" 2>"$work/handshake" ||
    fail "s_client: $(cat "$work/handshake")"
  status=$(head -n 1 "$work/edge" | cut -d ' ' -f 2)
  equal "the edge's HTTP status, by s_client" "$status" "$1"
  echo "request to the edge: HTTP $1"
}

# The edge blocks another CA's certificate, as openssl makes it by default, with a response and not with a failed
# handshake.
request_edge_with_foreign_certificate() {
  [[ -n ${SHIELDCERT_EDGE:-} ]] || return 0
  local version status
  openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=other -keyout "$work/other.key" -out "$work/other.pem" 2>/dev/null
  openssl x509 -req -in "$work/sensor-000.csr" -CA "$work/other.pem" -CAkey "$work/other.key" -CAcreateserial -days 3 \
    -out "$work/foreign.pem" 2>/dev/null
  for version in 1.2 1.3; do
    status=$(curl --silent --show-error --max-time 20 --cacert "$SHIELDCERT_CA" --cert "$work/foreign.pem" \
      --key "$work/sensor-000.key" --tlsv$version --tls-max $version --output "$work/edge" --write-out '%{http_code}' \
      "https://$SHIELDCERT_EDGE/")
    equal "the edge's HTTP status for another CA's certificate, over TLS $version" "$status" 403
  done
  echo "request to the edge with another CA's certificate: HTTP 403"
}

key_and_csr sensor-000
succeed create POST "$certificates" "$(request sensor-000 30)"
id=$(field .result.id)
equal "the status of a new certificate" "$(field .result.status)" active
equal "its common name" "$(field .result.common_name)" sensor-000
equal "its organization" "$(field .result.organization)" "Temperature Testers, Inc."
field .result.certificate >"$work/sensor-000.pem"
fingerprint=$(field .result.fingerprint_sha256)
echo "created $id"

verified=$(openssl verify -x509_strict -purpose sslclient -CAfile "$SHIELDCERT_CA" "$work/sensor-000.pem") ||
  fail "openssl does not verify the certificate: $verified"
openssl x509 -in "$work/sensor-000.pem" -noout -text >"$work/text"
grep -q 'TLS Web Client Authentication' "$work/text" || fail "the certificate is not for clients: $(cat "$work/text")"
grep -q 'CN *= *sensor-000' "$work/text" || fail "the certificate has another subject: $(cat "$work/text")"
equal "the certificate's key" "$(openssl x509 -in "$work/sensor-000.pem" -noout -pubkey)" \
  "$(openssl pkey -in "$work/sensor-000.key" -pubout)"
equal "its fingerprint" "$(openssl x509 -in "$work/sensor-000.pem" -outform DER | openssl dgst -sha256 -r | cut -c 1-64)" \
  "$(tr A-F a-f <<<"$fingerprint")"
echo "verified it against the CA: for TLS clients"
request_edge 200
request_edge_with_foreign_certificate

for number in 001 002 003 004 005 006 007 008 009 010 011; do
  key_and_csr "sensor-$number"
  succeed create POST "$certificates" "$(request "sensor-$number" 30)"
  field .result.id >>"$work/ids"
done
echo "$id" >>"$work/ids"
echo "created 11 more"

page=0
while :; do
  page=$((page + 1))
  succeed list GET "$certificates?page=$page&per_page=5"
  [[ $(field '.result | length') != 0 ]] || break
  field '.result[].id' >>"$work/listed"
done
equal "what is listed twice" "$(sort "$work/listed" | uniq -d)" ""
equal "what the list lacks" "$(comm -23 <(sort "$work/ids") <(sort "$work/listed"))" ""
((page > 3)) || fail "the list has $((page - 1)) pages"
echo "listed $(grep -c . "$work/listed") certificates on $((page - 1)) pages"

succeed get GET "$certificates/$id"
equal "the fingerprint got" "$(field .result.fingerprint_sha256)" "$fingerprint"
echo "got $id"

succeed delete DELETE "$certificates/$id"
equal "the status after a delete" "$(field .result.status)" pending_revocation
settle "$id" revoked
succeed list GET "$certificates?status=revoked"
field '.result[].id' | grep -qx "$id" || fail "the list of the revoked lacks $id"
echo "deleted $id: pending_revocation, then revoked"
request_edge 403

succeed edit PATCH "$certificates/$id" '{"reactivate":true}'
equal "the status after an edit" "$(field .result.status)" pending_reactivation
settle "$id" active
echo "edited $id: pending_reactivation, then active"
request_edge 200

unknown=ffffffffffffffffffffffffffffffff
token=$SHIELDCERT_TOKEN
refuse "a wrong token" 403 10000 wrong GET "$certificates/$id"
refuse "a malformed token" 400 6003 "two words" GET "$certificates"
refuse "an unknown id, get" 404 1401 "$token" GET "$certificates/$unknown"
refuse "an unknown id, delete" 404 1401 "$token" DELETE "$certificates/$unknown"
refuse "an unknown id, edit" 404 1401 "$token" PATCH "$certificates/$unknown" '{"reactivate":true}'
refuse "a malformed zone id" 404 7003 "$token" GET "$SHIELDCERT_BASE_URL/zones/short/client_certificates"
refuse "a bad CSR" 400 1402 "$token" POST "$certificates" '{"csr":"nonsense","validity_days":30}'
refuse "a bad validity" 400 1403 "$token" POST "$certificates" "$(request sensor-000 0)"
refuse "a body that is not JSON" 400 6007 "$token" POST "$certificates" '{'
refuse "a page that is too large" 400 6009 "$token" GET "$certificates?per_page=51"
refuse "an edit without reactivate" 400 1404 "$token" PATCH "$certificates/$id" '{"reactivate":false}'
refuse "a method that is not there" 405 7001 "$token" PUT "$certificates" '{}'
grep -qi '^allow: .*POST' "$work/headers" || fail "the response to PUT does not say what is allowed"
