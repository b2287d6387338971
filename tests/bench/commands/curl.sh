#!/usr/bin/env bash
# The documented way: curl and jq. Usage: curl.sh start | list | get ID | issue COUNT FOLDER
set -euo pipefail
url=$CLOUDFLARE_BASE_URL/zones/$CLOUDFLARE_ZONE_ID/client_certificates

call() {
  curl --silent --show-error --fail --header "Authorization: Bearer $CLOUDFLARE_API_TOKEN" "$@"
}

case $1 in
  start)
    openssl version
    curl --version
    jq --version
    ;;
  list)
    for ((page = 1; ; page++)); do
      lines=$(call "$url?page=$page&per_page=50" | jq --compact-output '.result[] | {id, fingerprint_sha256}')
      if [[ -z $lines ]]; then break; fi
      printf '%s\n' "$lines"
    done
    ;;
  get) call "$url/$2" | jq --compact-output '.result | {id, fingerprint_sha256}' ;;
  issue) exec bash "${BASH_SOURCE[0]%/*}/loop.sh" "$2" "$3" ;;
esac
