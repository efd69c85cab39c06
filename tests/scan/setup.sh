#!/usr/bin/env bash
# Installs the scanners into a folder, pinned: schemathesis and sslyze in a virtual environment, promtool
# out of Debian's package without installing the server that it comes with.
set -euo pipefail
folder=$1
here=$(cd "$(dirname "$0")" && pwd)

if ! cmp -s "$here/requirements.txt" "$folder/requirements.txt"; then
    python3 -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$folder/requirements.txt"
fi
if [ ! -x "$folder/bin/promtool" ]; then
    package=$(mktemp -d)
    trap 'rm -rf "$package"' EXIT
    # The sandboxed user of apt must be able to write here.
    chmod 777 "$package"
    cd "$package"
    apt-get download --quiet prometheus || { apt-get update --quiet && apt-get download --quiet prometheus; }
    dpkg --extract prometheus_*.deb .
    cd - >/dev/null
    install "$package/usr/bin/promtool" "$folder/bin/promtool"
fi
"$folder/bin/promtool" --version | head -1
