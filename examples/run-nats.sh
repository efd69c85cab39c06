#!/usr/bin/env bash
# One NATS server and three gateways of examples/nats.yaml, on loopback alone, until Ctrl-C or until one of them ends.
#   run-nats.sh NATS_SERVER GATEWAY SECRETS
set -euo pipefail
nats=$1 gateway=$2 secrets=$3
here=$(dirname "$0")
key=$(cat "$secrets/chat-api/api-key")

children=()
# Whatever ends it, nothing stays behind. A gateway drains at the first SIGINT, and ends at the second.
finish() {
  trap '' INT TERM
  for _ in {1..25}; do
    kill -INT "${children[@]}" 2>/dev/null || return 0
    sleep 0.2
  done
  kill -KILL "${children[@]}" 2>/dev/null || true
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# begin NAME COMMAND...: starts it with its name before each of its lines.
begin() {
  local name=$1
  shift
  setsid "$@" > >(exec sed -u "s/^/$name  /") 2>&1 &
  children+=($!)
}

CHAT_PASSWORD=$(cat "$secrets/chat-nats/password")
export CHAT_PASSWORD
begin nats "$nats" --config "$here/nats-server.conf"
for n in 1 2 3; do
  begin "pod$n" "$gateway" serve "$here/nats.yaml" --console --secrets "$secrets" \
    --listen "127.0.0.1:808$n" --internal-listen "127.0.0.1:909$n"
done

cat <<TEXT

Consoles    the addresses in the three log lines 'console' below: open each in a browser of its own
WebSocket   ws://127.0.0.1:8081/ws  ws://127.0.0.1:8082/ws  ws://127.0.0.1:8083/ws
Internal    http://127.0.0.1:9091/status  http://127.0.0.1:9092/status  http://127.0.0.1:9093/status
Token       $gateway token --secret $secrets/chat-jwt/hmac --user alice --subscribe '**' --publish '**'
Publish     curl -H "Authorization: Bearer $key" -d '{"channel":"public.hello","data":"hi"}' http://127.0.0.1:9091/api/v1/publish

TEXT

code=0
wait -n "${children[@]}" || code=$?
echo "one of them ended with exit code $code: the others end too"
exit "$((code == 0 ? 1 : code))"
