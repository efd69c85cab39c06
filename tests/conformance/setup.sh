#!/usr/bin/env bash
# Installs the Autobahn|Testsuite (`wstest`, WebSocket RFC 6455 + RFC 7692
# conformance suite) into the folder given as $1.  Idempotent; nothing outside
# that folder is changed.
#
#   setup.sh DIR        ->  DIR/bin/wstest, DIR/bin/python2.7
#
# The suite needs Python 2.7, which Debian last shipped in bullseye.  The
# interpreter's .debs are taken from suite "bullseye" of the Debian mirror that
# this machine's apt already uses (signature-checked by apt with the Debian
# archive keyring, own list and cache folders) and only unpacked, never
# installed.  The Python packages come from the configured package index by
# name, version and sha256.
# Needs: Debian (amd64), apt-get, dpkg, python3 with pip, gcc (for wsaccel).
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 64; }
mkdir -p "$1"
D=$(cd "$1" && pwd)
SUITE=bullseye
DEBS="python2.7-minimal libpython2.7-minimal libpython2.7-stdlib libpython2.7-dev libssl1.1 libffi7"
ARCH=$(dpkg --print-architecture)
[ "$ARCH" = amd64 ] || { echo "setup: wheels are pinned for amd64, not $ARCH" >&2; exit 69; }
MULTIARCH=x86_64-linux-gnu

STAMP="$D/.installed"
SELF=$(sha256sum "$0" | cut -d' ' -f1)
if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$SELF $D" ] && "$D/bin/wstest" --autobahnversion >/dev/null 2>&1; then
    echo "setup: already installed in $D"
    exit 0
fi
rm -rf "$D/root" "$D/boot" "$D/bin" "$D/apt" "$D/debs" "$STAMP"
mkdir -p "$D/root" "$D/boot" "$D/bin" "$D/debs" "$D/apt/lists/partial" "$D/apt/archives/partial"

# --- 1. Python 2.7 ---------------------------------------------------------
# The mirrors are those that apt already uses; the first that has the suite,
# signed by the Debian archive keyring, serves.
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$KEYRING" ] || { echo "setup: no $KEYRING (package debian-archive-keyring)" >&2; exit 69; }
MIRRORS=$(apt-get --print-uris update |
    sed -n "s#^'\(.*\)/dists/[a-z]*/InRelease'.*#\1#p" | awk '!/security/ && !seen[$0]++')
APT=(apt-get -qq
    -o "Dir::Etc::sourcelist=$D/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$D/apt/lists" -o "Dir::Cache=$D/apt"
    -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=3
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled=false
    -o Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled=false
    -o Acquire::IndexTargets::deb::DEP-11-icons-hidpi::DefaultEnabled=false
    -o Acquire::IndexTargets::deb::CNF::DefaultEnabled=false)
echo "setup: python2.7 from Debian $SUITE"
found=
for mirror in $MIRRORS; do
    (umask 077; echo "deb [signed-by=$KEYRING] $mirror $SUITE main" > "$D/apt/sources.list")
    # shellcheck disable=SC2086
    if "${APT[@]}" -o APT::Update::Error-Mode=any update && (cd "$D/debs" && "${APT[@]}" download $DEBS); then
        found=1
        break
    fi
done
[ -n "$found" ] || { echo "setup: none of this machine's apt mirrors has Debian $SUITE" >&2; exit 69; }
for deb in "$D"/debs/*.deb; do dpkg-deb -x "$deb" "$D/root"; done
rm -rf "$D/apt" "$D/debs"

cat > "$D/bin/python2.7" <<WRAP
#!/bin/sh
LD_LIBRARY_PATH="$D/root/usr/lib/$MULTIARCH" PYTHONDONTWRITEBYTECODE=1 PYTHONNOUSERSITE=1 \\
    exec "$D/root/usr/bin/python2.7" "\$@"
WRAP
chmod +x "$D/bin/python2.7"
"$D/bin/python2.7" -c 'import ssl, zlib, hashlib, ctypes, sqlite3'

# --- 2. Python packages, pinned by sha256 ------------------------------------
cat > "$D/boot.txt" <<'PINS'
pip==20.3.4 --hash=sha256:217ae5161a0e08c0fb873858806e3478c9775caffce5168b50ec885e358c199d
setuptools==44.1.1 --hash=sha256:27a714c09253134e60a6fa68130f78c7037e5562c4f21f8f318f2ae900d152d5
wheel==0.37.1 --hash=sha256:4bdcd7d840138086126cd09254dc6195fb4fc6f01c050a1d7236f2630db1d22a
PINS
cat > "$D/pins.txt" <<'PINS'
argparse==1.4.0 --hash=sha256:c31647edb69fd3d465a847ea3157d37bed1f95f19760b11a47aa91c04b666314
attrs==21.4.0 --hash=sha256:2d27e3784d7a565d36ab851fe94887c5eccd6a463168875832a1be79c82828b4
autobahn==0.10.9 --hash=sha256:3fecc1e2a26a0421128ddcfb4e577f0bc669dd65d0e0fdad1c773965cbcef75a
autobahntestsuite==25.10.1 --hash=sha256:b57ee6b22de624a03256878ad453c9897d2ad7ee08a4c38b35ee2847637e1383
Automat==22.10.0 --hash=sha256:c3164f8742b9dc440f3682482d32aaff7bb53f71740dd018533f9de286b64180
cffi==1.15.1 --hash=sha256:ed9cb427ba5504c1dc15ede7d516b84757c3e3d7868ccc85121d9310d27eed0b
constantly==15.1.0 --hash=sha256:dd2fa9d6b1a51a83f0d7dd76293d734046aa176e384bf6e33b7e44880eb37c5d
cryptography==3.3.2 --hash=sha256:c7390f9b2119b2b43160abb34f63277a638504ef8df99f11cb52c1fda66a2e6f
enum34==1.1.10 --hash=sha256:a98a201d6de3f2ab3db284e70a33b0f896fbf35f8086594e8c9e74b909058d53
hyperlink==21.0.0 --hash=sha256:e6b14c37ecb73e89c77d78cdb4c2cc8f3fb59a885c5b3f819ff4ed80f25af1b4
idna==2.10 --hash=sha256:b97d804b1e9b523befed77c48dacec60e6dcb0b5391d57af6a65a312a90648c0
incremental==16.10.1 --hash=sha256:cc00a35f9e9621ddec0a5e7d17271f3f26244873c4aec67eda06f2db8302e04b
ipaddress==1.0.23 --hash=sha256:6e0f4a39e66cb5bb9a137b00276a2eff74f93b71dcbdad6f10ff7df9d3557fcc
Jinja2==2.11.3 --hash=sha256:03e47ad063331dd6a3f04a43eddca8a966a26ba0c5b7207a9a9e4e08f1b29419
klein==17.10.0 --hash=sha256:8fcb5ee33906c9094bbf9edee19fbcb2d2cf864053def32e5d73946e8d275050
linecache2==1.0.0 --hash=sha256:e78be9c0a0dfcbac712fe04fbf92b96cddae80b1b842f24248214c8496f006ef
MarkupSafe==1.1.1 --hash=sha256:43a55c2930bbc139570ac2452adf3d70cdbb3cfe5912c71cdce1c2c6bbd9c5d1
pyasn1==0.5.1 --hash=sha256:4439847c58d40b1d0a573d07e3856e95333f1976294494c325775aeca506eb58
pyasn1-modules==0.3.0 --hash=sha256:d3ccd6ed470d9ffbc716be08bd90efbd44d0734bc9303818f7336070984a162d
pycparser==2.21 --hash=sha256:8ee45429555515e1f6b185e78100aea234072576aa43ab53aefcae078162fca9
PyHamcrest==1.10.1 --hash=sha256:f7ae19ddfd71f11a421bcec9608d708c0fab816db98b51fdbc672a6d99a30874
pyOpenSSL==19.1.0 --hash=sha256:621880965a720b8ece2f1b2f54ea2071966ab00e2970ad2ce11d596102063504
service_identity==18.1.0 --hash=sha256:001c0707759cb3de7e49c078a7c0c9cd12594161d3bf06b9c254fdcb1a60dc36
setuptools==44.1.1 --hash=sha256:27a714c09253134e60a6fa68130f78c7037e5562c4f21f8f318f2ae900d152d5
six==1.16.0 --hash=sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254
traceback2==1.4.0 --hash=sha256:8253cebec4b19094d67cc5ed5af99bf1dba1285292226e98a31929f87a5d6b23
Twisted==20.3.0 --hash=sha256:7408c6635ee1b96587289283ebe90ee15dbf9614b05857b446055116bc822d29
txaio==2.1.0 --hash=sha256:b94e3dbc83760b68955160fc61a2c34e2798f7a90c41672560f40dfd2946a864
typing==3.10.0.0 --hash=sha256:c7219ef20c5fbf413b4567092adfc46fa6203cb8454eda33c3fc1afe1398a308
unittest2==1.1.0 --hash=sha256:13f77d0875db6d9b435e1d4f41e74ad4cc2eb6e1d5c824996092b3430f088bb8
Werkzeug==1.0.1 --hash=sha256:2de2a5db0baeae7b2d2664949077c2ac63fbd16d98da0ff71837f7d1dea3fd43
wsaccel==0.6.2 --hash=sha256:425706acf0724d2f6bfa391ec37b4ef121d3432c956029de3cea4e101c218e0c
zope.interface==4.6.0 --hash=sha256:bad44274b151d46619a7567010f7cde23a908c6faa84b97598fd2f474a0c6891
PINS

echo "setup: pip and setuptools for python2.7"
python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: \
    --python-version 2.7 --require-hashes -r "$D/boot.txt" -d "$D/boot/wheels"
"$D/bin/python2.7" "$D"/boot/wheels/pip-20.3.4-py2.py3-none-any.whl/pip install -q --no-deps --no-index \
    --disable-pip-version-check --target "$D/boot/lib" "$D"/boot/wheels/*.whl 2> "$D/pip.log"

echo "setup: wstest and its dependencies"
SITE="$D/root/usr/local/lib/python2.7/dist-packages"
PYTHONPATH="$D/boot/lib" \
C_INCLUDE_PATH="$D/root/usr/include/python2.7:$D/root/usr/include" \
    "$D/bin/python2.7" -m pip install -q --no-cache-dir --disable-pip-version-check --no-deps \
    --no-build-isolation --require-hashes -r "$D/pins.txt" --target "$SITE" >> "$D/pip.log" 2>&1 ||
    { tail -40 "$D/pip.log" >&2; exit 1; }
rm -rf "$D/boot"

cat > "$D/bin/wstest" <<WRAP
#!/bin/sh
exec "$D/bin/python2.7" -W ignore -c 'from autobahntestsuite.wstest import run; run()' "\$@"
WRAP
chmod +x "$D/bin/wstest"
"$D/bin/wstest" --autobahnversion | tail -2
"$D/bin/python2.7" -c 'import wsaccel.utf8validator, wsaccel.xormask'
echo "$SELF $D" > "$STAMP"
echo "setup: installed in $D"
