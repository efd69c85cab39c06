#!/usr/bin/env bash
# One NATS server and three gateways of examples/nats.yaml, on loopback alone, until Ctrl-C or until one of them ends.
#   run-nats.sh NATS_SERVER GATEWAY SECRETS
# Ctrl-C and SIGTERM drain the gateways, then end NATS. A second one, or DRAIN seconds, end the drain.
set -euo pipefail
nats=$1 gateway=$2 secrets=$3
here=$(dirname "$0")
key=$(cat "$secrets/chat-api/api-key")
drain=${DRAIN:-30}

declare -A names=() # of what runs, by its process
pods=()

# is_taken PORT: whether somebody listens there already.
is_taken() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}
# A second NATS would open the folder of the first before it finds its port taken.
for port in 4222 8081 8082 8083 9091 9092 9093; do
  if is_taken "$port"; then
    echo "127.0.0.1:$port is taken, perhaps by another 'make run-nats' or 'make nats': end that one first" >&2
    exit 69
  fi
done

# run_still PROCESS...: whether any of them does.
run_still() {
  local process
  for process; do
    kill -0 "$process" 2>/dev/null && return 0
  done
  return 1
}

# end SIGNAL SECONDS PROCESS...: tells them to end, and waits until they have, no longer than that.
end() {
  local signal=$1 deadline=$((SECONDS + $2))
  shift 2
  kill "-$signal" "$@" 2>/dev/null || true
  while run_still "$@" && ((SECONDS < deadline && is_hurried == 0)); do
    sleep 0.1 || true # which Ctrl-C ends
  done
}

# Whatever ends it, nothing stays behind. SIGTERM has a gateway drain; SIGINT meanwhile ends the drain.
is_hurried=0
finish() {
  trap 'is_hurried=1' INT TERM
  if run_still "${pods[@]}"; then
    echo "run-nats  the gateways drain, at most $drain s; Ctrl-C ends it now"
    end TERM "$drain" "${pods[@]}"
  fi
  trap '' INT TERM
  is_hurried=0
  end INT 5 "${pods[@]}"
  end TERM 5 "${!names[@]}"
  kill -KILL "${!names[@]}" 2>/dev/null || true
  wait
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# begin NAME COMMAND...: starts it with its name before each of its lines, where a Ctrl-C for this script does not reach it.
begin() {
  local name=$1
  shift
  setsid "$@" > >(exec setsid sed -u "s/^/$name  /") 2>&1 &
  names[$!]=$name
}

CHAT_PASSWORD=$(cat "$secrets/chat-nats/password")
export CHAT_PASSWORD
begin nats "$nats" --config "$here/nats-server.conf"
for n in 1 2 3; do
  begin "pod$n" "$gateway" serve "$here/nats.yaml" --console --secrets "$secrets" \
    --listen "127.0.0.1:808$n" --internal-listen "127.0.0.1:909$n"
  pods+=("$!")
done

cat <<TEXT

Consoles    the addresses in the three log lines 'console' below: open each in a browser of its own
WebSocket   ws://127.0.0.1:8081/ws  ws://127.0.0.1:8082/ws  ws://127.0.0.1:8083/ws
Internal    http://127.0.0.1:9091/status  http://127.0.0.1:9092/status  http://127.0.0.1:9093/status
Token       $gateway token --secret $secrets/chat-jwt/hmac --user alice --subscribe '**' --publish '**'
Publish     curl -H "Authorization: Bearer $key" -d '{"channel":"public.hello","data":"hi"}' http://127.0.0.1:9091/api/v1/publish

TEXT

code=0
wait -n -p ended "${!names[@]}" || code=$?
echo "run-nats  ${names[$ended]} (process $ended) has ended with exit code $code: the others end too"
unset "names[$ended]"
for n in "${!pods[@]}"; do
  [[ ${pods[n]} != "$ended" ]] || unset "pods[n]"
done
exit "$((code == 0 ? 1 : code))"
