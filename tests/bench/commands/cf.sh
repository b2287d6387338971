#!/usr/bin/env bash
# Cloudflare's own command line, and a loop where it has none. Usage: cf.sh CF start | list | page | get ID | issue COUNT FOLDER
set -euo pipefail
umask 077
# Its commands for client certificates are not shown otherwise.
export CF_HIDE_COMMANDS=0
cf=$1
shift

call() {
  local command=$1
  shift
  node "$cf" client-certificates "$command" --zone "$CLOUDFLARE_ZONE_ID" "$@"
}

case $1 in
  start) node "$cf" --version ;;
  page) call list --ndjson --fields id,fingerprint_sha256 ;;
  list)
    for ((page = 1; ; page++)); do
      lines=$(call list --ndjson --fields id,fingerprint_sha256 --page "$page" --per-page 50)
      if [[ -z $lines || $lines == '[]' ]]; then break; fi
      printf '%s\n' "$lines"
    done
    ;;
  get) call get "$2" --ndjson --fields id,fingerprint_sha256 ;;
  issue)
    for ((number = 0; number < $2; number++)); do
      printf -v name 'device-%05d' "$number"
      file=$3/$name
      openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$name" \
        -keyout "$file.key" -out "$file.csr" 2>/dev/null
      call create "--csr=$(<"$file.csr")" --validity-days 30 | jq --raw-output --exit-status .certificate >"$file.pem"
    done
    ;;
esac
