"""A gateway to attack: the real binary, a manifest of its own, ports of its own."""

import base64, ctypes, hashlib, hmac, json, os, signal, subprocess, sys, time, urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "started"))

from started import API_KEY, KEYS, SECRET, Started  # noqa: F401  for the attacks

PAGE = os.sysconf("SC_PAGE_SIZE")

# The defaults of the manifest, but for times that a test can wait for.
SPEC = {
    "auth": {"mode": "Optional", "jwt": KEYS},
    "api": {"keySecretName": "api"},
    "drain": {"period": "10s", "endpointGrace": "0s"},
    "limits": {"handshakeTimeout": "3s"},
    "channels": [
        {"match": "public.**", "subscribe": "Anyone", "publish": "Anyone"},
        {"match": "kept.**", "subscribe": "Anyone", "publish": "Anyone", "history": {"messages": 100, "maxAge": "5m"}},
        {"match": "**"},
    ],
}


def signed(header, claims, secret=SECRET):
    """A token signed with HS256, whatever its header says; made without the code under test."""
    encode = lambda it: base64.urlsafe_b64encode(it).rstrip(b"=")
    text = encode(json.dumps(header).encode()) + b"." + encode(json.dumps(claims).encode())
    return (text + b"." + encode(hmac.new(secret, text, hashlib.sha256).digest())).decode()


def token(user="alice", **claims):
    """A good token."""
    return signed({"alg": "HS256"}, {"sub": user, "exp": int(time.time()) + 3600, **claims})


def merged(base, changes):
    """`base` with `changes`, folder by folder."""
    both = {**base, **changes}
    return {key: merged(base[key], it) if isinstance(it, dict) and isinstance(base.get(key), dict) else it for key, it in both.items()}


def rank(pid, nice):
    """Gives the session of a process precedence over others, or none, where that is allowed.

    The latency of the gateway is measured, not that of a busy machine. Linux shares time between sessions
    first (sched_autogroup) and heeds `nice` only inside of one.
    """
    for path, act in (("autogroup", lambda it: it.write_text(str(nice))), (".", lambda _: os.setpriority(os.PRIO_PROCESS, pid, nice))):
        try:
            act(Path(f"/proc/{pid}/{path}"))
        except OSError:
            pass


def die_with_parent():
    """Has the kernel end this process when the one that started it is gone, however it went."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Gateway(Started):
    """One process. Its log is read and kept; `stop` ends it."""

    profile = "release"

    def __init__(self, folder, spec=None, tls=False):
        more = {**(spec or {}), **({"tls": {"secretName": "tls"}} if tls else {})}
        super().__init__(folder, merged(SPEC, more))
        self.tls = tls
        if tls:
            self.certificate()
        self.serve(start_new_session=True, preexec_fn=die_with_parent)
        self.pid = self.process.pid
        rank(self.pid, -15)
        try:
            self.public, self.internal = map(_address, self.addresses())
        except AssertionError:
            self.stop()
            raise

    def certificate(self):
        """A pair for localhost, signed by an authority of its own, `ca.crt` beside it."""
        folder = self.secrets / "tls"
        folder.mkdir()
        make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30".split()
        ca = ["-subj", "/CN=authority", "-addext", "keyUsage=critical,keyCertSign", "-keyout", "ca.key", "-out", "ca.crt"]
        leaf = ["-subj", "/CN=localhost", "-CA", "ca.crt", "-CAkey", "ca.key", "-keyout", "tls.key", "-out", "tls.crt"]
        for extension in ("basicConstraints=critical,CA:FALSE", "subjectAltName=IP:127.0.0.1,DNS:localhost", "extendedKeyUsage=serverAuth"):
            leaf += ["-addext", extension]
        for options in (ca, leaf):
            subprocess.run([*make, *options], check=True, capture_output=True, cwd=folder)

    def http(self, path, body=None):
        """The text of an answer of the internal port; errors are raised."""
        data = None if body is None else json.dumps(body).encode()
        url = "http://%s:%d%s" % (*self.internal, path)
        request = urllib.request.Request(url, data, {"Authorization": f"Bearer {API_KEY}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()

    def metric(self, name, **labels):
        """The sum of a metric's series that have these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = (line for line in self.http("/metrics").splitlines() if line.startswith((name + "{", name + " ")))
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(it in line for it in wanted))

    def resident(self):
        """Resident memory in bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE

    def files(self):
        """Open files."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def complaints(self):
        """Log lines that say warning, error or panic."""
        return [line for line in self.lines if any(it in line for it in ('"WARN"', '"ERROR"', "panicked"))]

    def stop(self):
        """SIGKILL: what is left of the attack needs no goodbye."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)


def _address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)
