"""A gateway to attack: the real binary, a manifest of its own, ports of its own."""

import base64, ctypes, hashlib, hmac, json, os, queue, signal, subprocess, threading, time, urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("HEADGATE_GATEWAY", str(ROOT / "target/release/headgate-gateway"))
SECRET = b"0123456789abcdef0123456789abcdef"
API_KEY = "test-key-0123456789"
PAGE = os.sysconf("SC_PAGE_SIZE")

# The defaults of the manifest, but for times that a test can wait for.
SPEC = {
    "auth": {"mode": "Optional", "jwt": {"keysSecretName": "jwt", "keys": [{"algorithm": "HS256", "key": "hmac"}]}},
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


class Gateway:
    """One process. Its log is read and kept; `stop` ends it."""

    def __init__(self, folder, spec=None, tls=False):
        self.manifest, self.secrets, self.tls = folder / "gateway.yaml", folder / "secrets", tls
        for name, key, content in [("jwt", "hmac", SECRET), ("api", "api-key", API_KEY.encode())]:
            (self.secrets / name).mkdir(parents=True)
            (self.secrets / name / key).write_bytes(content)
        more = dict(spec or {})
        if tls:
            self.certificate()
            more["tls"] = {"secretName": "tls"}
        document = {"apiVersion": "headgate.dev/v1alpha1", "kind": "RealtimeGateway", "metadata": {"name": "test"}}
        self.manifest.write_text(json.dumps({**document, "spec": merged(SPEC, more)}))
        command = [BINARY, "serve", str(self.manifest), "--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"]
        command += ["--secrets", str(self.secrets), "--log-format", "json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, preexec_fn=die_with_parent)
        self.pid, self.log, self.lines = self.process.pid, [], queue.Queue()
        rank(self.pid, -15)
        threading.Thread(target=self._read, daemon=True).start()
        try:
            listening = self._wait_for("listening")
        except AssertionError:
            self.stop()
            raise
        self.public, self.internal = (_address(listening[it]) for it in ("public", "internal"))

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

    def _read(self):
        for line in self.process.stdout:
            self.log.append(line)
            self.lines.put(line)

    def _wait_for(self, event, seconds=10):
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no log line with event {event} within {seconds} s but {''.join(self.log[-3:]).strip()}") from None
            if line.startswith("{") and json.loads(line).get("event") == event:
                return json.loads(line)

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
        return [line for line in self.log if any(it in line for it in ('"WARN"', '"ERROR"', "panicked"))]

    def stop(self):
        """SIGKILL: what is left of the attack needs no goodbye."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)


def _address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)
