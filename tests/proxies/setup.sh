#!/usr/bin/env bash
# Installs nginx and HAProxy where they are missing. Debian's packages; started by the tests alone.
set -euo pipefail
missing=()
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing+=(nginx)
command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
[ "${#missing[@]}" -eq 0 ] && exit 0
[ "$(id -u)" -eq 0 ] || { echo "install ${missing[*]} first: apt-get install ${missing[*]}" >&2; exit 1; }
apt-get update --quiet
DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install --quiet --yes --no-install-recommends "${missing[@]}"
