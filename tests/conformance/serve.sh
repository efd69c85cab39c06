#!/usr/bin/env bash
# Starts a gateway with an echo route and runs the suite against it.
#   serve.sh BINARY CASES
set -euo pipefail
binary=$1 cases=$2
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
cat > "$folder/gateway.yaml" <<'YAML'
apiVersion: headgate.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: conformance}
spec:
  auth: {mode: Disabled}
  drain: {period: 10s, endpointGrace: 0s}
YAML
"$binary" serve "$folder/gateway.yaml" --listen 127.0.0.1:0 --internal-listen 127.0.0.1:0 \
    --conformance-echo /echo --log-format json > "$folder/log" &
gateway=$!
trap 'kill "$gateway" 2>/dev/null || true; wait "$gateway" 2>/dev/null || true; rm -rf "$folder"' EXIT
for _ in $(seq 100); do
    address=$(sed -n 's/.*"public":"\([^"]*\)".*/\1/p' "$folder/log")
    [ -n "$address" ] && break
    sleep 0.1
done
[ -n "$address" ] || { echo "the gateway did not say 'listening' within 10 s:"; cat "$folder/log"; exit 1; }
AUTOBAHN_HOME=$here/../../.tools/autobahn AUTOBAHN_CLOSE_CODES=1 AUTOBAHN_STRICT=${AUTOBAHN_STRICT:-0} \
    "$here/run.sh" "ws://$address/echo" "$here/../../.run/conformance" "$cases"
