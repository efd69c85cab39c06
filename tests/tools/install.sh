#!/usr/bin/env bash
# Installs a tool of ours, at the one version that we use.
#   install.sh NAME DIR    -> DIR/bin/NAME
set -euo pipefail
name=$1 dir=$(realpath -m "$2")
case "$name" in
    cargo-deny) cargo install cargo-deny --version 0.20.2 --locked --root "$dir" ;;
    centrifugo) GOBIN="$dir/bin" go install github.com/centrifugal/centrifugo/v6@v6.9.1 ;;
    nats-server) GOBIN="$dir/bin" go install github.com/nats-io/nats-server/v2@v2.15.2 ;;
    *) echo "install.sh: no tool is called $name" >&2; exit 64 ;;
esac
