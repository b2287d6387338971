#!/usr/bin/env bash
# The documented way in a loop: openssl, curl and jq, one device after another. Usage: loop.sh COUNT FOLDER
#
# A device whose certificate is in the folder is skipped, so that the loop can be started again.
set -euo pipefail
umask 077
count=$1
folder=$2
url=$CLOUDFLARE_BASE_URL/zones/$CLOUDFLARE_ZONE_ID/client_certificates

for ((number = 0; number < count; number++)); do
  printf -v name 'device-%05d' "$number"
  file=$folder/$name
  # A kill may leave an empty one.
  if [[ -s $file.pem ]]; then continue; fi
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$name" \
    -keyout "$file.key" -out "$file.csr" 2>/dev/null
  jq -n --rawfile csr "$file.csr" '{csr: $csr, validity_days: 30}' |
    curl --silent --show-error --fail --request POST --data @- \
      --header "Authorization: Bearer $CLOUDFLARE_API_TOKEN" --header "Content-Type: application/json" "$url" |
    jq --raw-output --exit-status .result.certificate >"$file.pem"
done
