"""What the suites start: a process whose lines are read, and the real binary with a manifest and Secrets of its own."""

import json, os, subprocess, threading, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECRET = b"0123456789abcdef0123456789abcdef"
API_KEY = "test-key-0123456789"
KEYS = {"keysSecretName": "jwt", "keys": [{"algorithm": "HS256", "key": "hmac"}]}
# What the manifest names: files of Secrets.
SECRETS = {"jwt": {"hmac": SECRET}, "api": {"api-key": API_KEY}}
FREE_PORTS = ("--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0")


def binary(profile="debug"):
    return os.environ.get("HEADGATE_GATEWAY", str(ROOT / f"target/{profile}/headgate-gateway"))


def eventually(check, what, seconds=5):
    """Polls until `check` is true and returns that; fails, and says what it waited for."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return found


class Process:
    """A process whose lines are kept as they come: in `lines` as they are, in `log` as the events they hold."""

    def begin(self, command, **more):
        """Starts it, also once more after it ended."""
        self.lines, self.log, self.grown, self.has_ended = [], [], threading.Condition(), False
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
        self.reader = threading.Thread(target=self.read, args=(self.process.stdout, self.lines, self.log), daemon=True)
        self.reader.start()

    def read(self, output, lines, log):
        for line in output:
            with self.grown:
                lines.append(line)
                log.append(json.loads(line) if line.startswith("{") else {"event": "", "text": line})
                self.grown.notify_all()
        with self.grown:
            self.has_ended = True
            self.grown.notify_all()

    def wait_for(self, event, since=0, seconds=10):
        """The first event of this name after the first `since` lines."""
        return self._found(lambda: [it for it in self.log[since:] if it.get("event") == event], f"with event {event}", seconds)

    def wait_for_text(self, text, seconds=10):
        """The first line with this text."""
        return self._found(lambda: [it for it in self.lines if text in it], f"with {text!r}", seconds)

    def _found(self, find, what, seconds):
        with self.grown:
            self.grown.wait_for(lambda: find() or self.has_ended, seconds)
        assert (found := find()), f"no log line {what} within {seconds} s; log: {''.join(self.lines)}"
        return found[0]

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)
        self.reader.join(timeout=10)
        self.process.stdout.close()


class Started(Process):
    """A gateway in a folder of its own, on free ports of loopback."""

    profile = "debug"
    name = "test"  # in the manifest's metadata

    def __init__(self, folder, spec, secrets=SECRETS):
        self.folder, self.manifest, self.secrets = folder, folder / "gateway.yaml", folder / "secrets"
        self.secrets.mkdir(exist_ok=True)
        for name, files in secrets.items():
            self.secret(name, **files)
        self.write(spec)

    def secret(self, name, **files):
        """Writes files of a Secret, each replaced as a whole."""
        (self.secrets / name).mkdir(exist_ok=True)
        for key, content in files.items():
            replace(self.secrets / name / key, content.encode() if isinstance(content, str) else content)

    def write(self, spec):
        """Replaces the manifest."""
        document = {"apiVersion": "headgate.dev/v1alpha1", "kind": "RealtimeGateway", "metadata": {"name": self.name}, "spec": spec}
        replace(self.manifest, json.dumps(document).encode())

    def serve(self, *arguments, **more):
        """Starts the process; on free ports, or as the arguments say."""
        command = [binary(self.profile), "serve", str(self.manifest), "--secrets", str(self.secrets), "--log-format", "json"]
        self.begin([*command, *(arguments or FREE_PORTS)], **more)

    def addresses(self):
        """Its public and its internal address, once it listens."""
        listening = self.wait_for("listening")
        return listening["public"], listening["internal"]


def replace(path, content):
    fresh = path.with_name(f"..{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)
