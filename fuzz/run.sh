#!/usr/bin/env bash
# Runs every fuzz target, or those named: its corpus, then new inputs for SECONDS_EACH. Prints what
# it did, and fails at the first finding, whose input it keeps in fuzz/artifacts.
#
# MODE=ci replays the corpus and looks for 5 s each; MODE=grow keeps what is new in the corpus.
# The stable compiler is enough: no sanitizer is used, since all code of ours is safe Rust.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly CARGO_FUZZ=0.13.1
export RUST_BACKTRACE=0
mode=${MODE:-run}
seconds=${SECONDS_EACH:-20}
[ "$mode" != ci ] || seconds=5
export PATH=$PWD/.tools/bin:$PATH

if ! cargo fuzz --version 2>/dev/null | grep -qF "$CARGO_FUZZ"; then
  cargo install --quiet cargo-fuzz --version "$CARGO_FUZZ" --locked --root .tools
fi
cargo fetch --quiet --locked --manifest-path fuzz/Cargo.toml
cargo fuzz build --sanitizer none

built=$(cargo metadata --offline --no-deps --format-version 1 --manifest-path fuzz/Cargo.toml |
  sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/$(rustc -vV | sed -n 's/^host: //p')/release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p fuzz/artifacts

# What a target is given beside its corpus: the longest input, and words.
options() {
  case $1 in
    frames) echo -max_len=4096 -dict=fuzz/dictionaries/frames.dict ;;
    deflate) echo -max_len=4096 -dict=fuzz/dictionaries/deflate.dict ;;
    head) echo -max_len=20000 -dict=fuzz/dictionaries/http.dict ;;
    handshake) echo -max_len=4096 -dict=fuzz/dictionaries/http.dict ;;
    proxy) echo -max_len=4400 -dict=fuzz/dictionaries/proxy.dict ;;
    envelopes) echo -max_len=4096 -dict=fuzz/dictionaries/json.dict ;;
    tokens) echo -max_len=9000 -dict=fuzz/dictionaries/tokens.dict ;;
    jwks) echo -max_len=9000 -dict=fuzz/dictionaries/jwks.dict ;;
    manifest) echo -max_len=4096 -dict=fuzz/dictionaries/manifest.dict ;;
    pods) echo -max_len=4096 -dict=fuzz/dictionaries/json.dict ;;
    *) echo -max_len=600 -dict=fuzz/dictionaries/names.dict ;;
  esac
}

for target in ${*:-$(cargo fuzz list)}; do
  found=$work/$target
  [ "$mode" != grow ] || found=fuzz/corpus/$target
  mkdir -p "$found"
  # shellcheck disable=SC2046
  if "$built/$target" "$found" "fuzz/corpus/$target" $(options "$target") \
    -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -malloc_limit_mb=256 \
    -artifact_prefix="fuzz/artifacts/$target-" -print_final_stats=1 >"$work/log" 2>&1; then
    cover=$(grep -oE 'cov: [0-9]+ ft: [0-9]+' "$work/log" | tail -1)
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
    peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$work/log")
    printf '%-10s %10s runs  %s  %s MiB at most\n' "$target" "$runs" "$cover" "$peak"
  else
    tail -n 60 "$work/log"
    echo "$target: a finding; run it again with: cargo fuzz run --sanitizer none $target <the file above>"
    exit 1
  fi
done
