#!/usr/bin/env bash
# Prints the path of Chromium; where there is none, Debian's is installed first.
set -euo pipefail
for name in "${CHROMIUM:-}" chromium chromium-browser; do
  if [ -n "$name" ] && path=$(command -v "$name"); then
    echo "$path"
    exit
  fi
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Chromium is missing: install it, or name it in CHROMIUM" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet >&2
apt-get install --quiet --yes --no-install-recommends chromium fonts-dejavu-core >&2
command -v chromium
