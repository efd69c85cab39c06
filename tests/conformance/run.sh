#!/usr/bin/env bash
# Runs Autobahn|Testsuite's fuzzing client against a WebSocket server that echoes.
#
#   run.sh WS-URL OUTDIR [CASES]
#
# CASES: patterns separated by commas or spaces, as '1.*,7.*'; default '*'
#        (all 517).
# Environment:
#   AUTOBAHN_HOME       where setup.sh installed (default: ./autobahn beside this script)
#   AUTOBAHN_EXCLUDE    patterns left out, same form as CASES
#   AUTOBAHN_PROTOCOLS  subprotocols to offer, comma separated
#   AUTOBAHN_ORIGIN     Origin header to send
#   AUTOBAHN_STRICT     1: NON-STRICT and UNIMPLEMENTED fail too (INFORMATIONAL still passes)
#   AUTOBAHN_CLOSE_CODES 1: a case that expects a close code fails when the server
#                       dropped TCP without sending one of them (the suite itself
#                       accepts a bare drop after a protocol violation)
#   AUTOBAHN_TIMEOUT    seconds for the whole run (default 1500)
#   AUTOBAHN_ALLOW_HOST one more host allowed besides loopback (a test network namespace's)
# Writes OUTDIR/index.html, OUTDIR/index.json (the suite's own), OUTDIR/summary.json,
# OUTDIR/wstest.log.  Prints counts, closing with 'N passed, N failed'.
# Exit: 0 every case OK/NON-STRICT/INFORMATIONAL/UNIMPLEMENTED (both the case and
# its close) and every planned case ran; 1 otherwise; 64/69 usage or set-up.
set -euo pipefail

main() {   # read whole before it runs, so that editing this file cannot disturb a run
[ $# -ge 2 ] || { echo "usage: $0 WS-URL OUTDIR [CASES]" >&2; exit 64; }
URL=$1; OUT=$2; CASES=${3:-*}
HERE=$(cd "$(dirname "$0")" && pwd)
HOME_DIR=${AUTOBAHN_HOME:-$HERE/autobahn}
[ -x "$HOME_DIR/bin/wstest" ] || { echo "no wstest in $HOME_DIR: run setup.sh $HOME_DIR" >&2; exit 69; }
rm -rf "$OUT"; mkdir -p "$OUT"; OUT=$(cd "$OUT" && pwd)

URL=$URL OUT=$OUT CASES=$CASES python3 - <<'PY'
import json, os, re, sys
from urllib.parse import urlsplit
e = os.environ
host = urlsplit(e["URL"]).hostname or ""
if not (host == "localhost" or host == "::1" or re.fullmatch(r"127(\.\d{1,3}){3}", host)
        or (host and host == e.get("AUTOBAHN_ALLOW_HOST"))):
    sys.exit(f"autobahn-run: {host!r} is not a loopback address")
pats = lambda s: [p for p in re.split(r"[,\s]+", s) if p]
server = {"agent": "server", "url": e["URL"], "options": {"version": 18},
          "protocols": pats(e.get("AUTOBAHN_PROTOCOLS", ""))}
if e.get("AUTOBAHN_ORIGIN"): server["origin"] = e["AUTOBAHN_ORIGIN"]
json.dump({"outdir": e["OUT"], "servers": [server], "cases": pats(e["CASES"]),
           "exclude-cases": pats(e.get("AUTOBAHN_EXCLUDE", "")),
           "exclude-agent-cases": {}}, open(e["OUT"] + "/spec.json", "w"), indent=1)
PY

START=$(date +%s)
rc=0
(cd "$OUT" && timeout -k 10 "${AUTOBAHN_TIMEOUT:-1500}" \
    "$HOME_DIR/bin/wstest" -m fuzzingclient -s "$OUT/spec.json") > "$OUT/wstest.log" 2>&1 || rc=$?

OUT=$OUT RC=$rc SECS=$(( $(date +%s) - START )) URL=$URL python3 - <<'PY'
import collections, json, os, re, sys
out, rc = os.environ["OUT"], int(os.environ["RC"])
log = open(out + "/wstest.log", errors="replace").read()
m = re.search(r"will run (\d+) test cases", log)
planned = int(m.group(1)) if m else 0
try:
    res = json.load(open(out + "/index.json")).get("server", {})
except (OSError, ValueError):
    res = {}
good = {"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"}
if os.environ.get("AUTOBAHN_STRICT") == "1":
    good = {"OK", "INFORMATIONAL"}
key = lambda c: [int(x) for x in c.split(".")]
beh, close = collections.Counter(), collections.Counter()
sect = collections.defaultdict(collections.Counter)
bad = []
want_codes = os.environ.get("AUTOBAHN_CLOSE_CODES") == "1"
codes = collections.Counter()
for c in sorted(res, key=key):
    r = res[c]
    b, bc = r["behavior"], r["behaviorClose"]
    beh[b] += 1; close[bc] += 1; sect[c.split(".")[0]][b] += 1
    if b not in good or bc not in good:
        bad.append({"case": c, "behavior": b, "behaviorClose": bc,
                    "remoteCloseCode": r.get("remoteCloseCode"), "report": r.get("reportfile")})
        continue
    try:
        exp = (json.load(open(f"{out}/{r['reportfile']}")).get("expectedClose") or {}).get("closeCode") or []
    except (OSError, ValueError):
        exp = []
    # 7.3.1: the client's close frame has no code, so an empty one back is right
    if exp and c != "7.3.1" and b not in ("UNIMPLEMENTED", "INFORMATIONAL"):
        codes["as expected" if r.get("remoteCloseCode") in exp else "absent" if r.get("remoteCloseCode") is None else "other"] += 1
        if want_codes and r.get("remoteCloseCode") not in exp:
            bad.append({"case": c, "behavior": b, "behaviorClose": f"NO CLOSE CODE (wants {exp})",
                        "remoteCloseCode": r.get("remoteCloseCode"), "report": r.get("reportfile")})
missing = max(planned - len(res), 0)
whole = rc == 0 and planned > 0 and missing == 0
summary = {"url": os.environ["URL"], "planned": planned, "ran": len(res), "seconds": int(os.environ["SECS"]),
           "wstest_exit": rc, "behavior": dict(beh), "behaviorClose": dict(close),
           "close_codes": dict(codes),
           "by_section": {k: dict(v) for k, v in sorted(sect.items(), key=lambda kv: int(kv[0]))},
           "failed": bad}
json.dump(summary, open(out + "/summary.json", "w"), indent=1)
print(f"autobahn: {len(res)} of {planned} cases in {summary['seconds']} s at {summary['url']}")
print("  behavior:      " + ", ".join(f"{k} {v}" for k, v in sorted(beh.items())))
print("  behaviorClose: " + ", ".join(f"{k} {v}" for k, v in sorted(close.items())))
print("  close code from the server, where the case expects one: " + ", ".join(f"{k} {v}" for k, v in sorted(codes.items())))
for k, v in summary["by_section"].items():
    print(f"  section {k:>2}: " + ", ".join(f"{a} {b}" for a, b in sorted(v.items())))
for b in bad[:40]:
    print(f"  FAIL {b['case']}: {b['behavior']}, close {b['behaviorClose']} (remote code {b['remoteCloseCode']}), see {b['report']}")
if len(bad) > 40:
    print(f"  ... and {len(bad) - 40} more, in summary.json")
if not whole:
    why = "timed out" if rc in (124, 137) else f"wstest exited {rc}" if rc else "cases missing"
    print(f"  INCOMPLETE ({why}); last lines of wstest.log:")
    print("\n".join("    " + l[:160] for l in log.splitlines()[-5:]))
print(f"{len(res) - len(bad)} passed, {len(bad) + (missing if planned else 1)} failed")
sys.exit(0 if whole and not bad else 1)
PY
}
main "$@"
