#!/usr/bin/env bash
# Installs what makes and breaks wires between processes where it is missing: ip, tc and iptables. Debian's packages.
set -euo pipefail
has() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ]; }
missing=()
{ has ip && has tc; } || missing+=(iproute2)
has iptables || missing+=(iptables)
if [ "$(id -u)" -ne 0 ]; then
  echo "faults of the network need root, for namespaces of their own: run it as root, or name others with FAULT=" >&2
  [ "${#missing[@]}" -eq 0 ] || echo "they need ${missing[*]} too: apt-get install ${missing[*]}" >&2
  exit 1
fi
[ "${#missing[@]}" -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
  echo "${missing[*]} missing: install what Debian calls so" >&2
  exit 1
fi
apt-get update --quiet
DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends "${missing[@]}"
