"""A gateway and a proxy in front of it: real binaries, the files beside this one, free ports of loopback."""

import json, os, queue, shutil, signal, socket, subprocess, threading, time, urllib.error, urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
BINARY = os.environ.get("HEADGATE_GATEWAY", str(HERE.parents[1] / "target/debug/headgate-gateway"))
SECRET = b"0123456789abcdef0123456789abcdef"
TOKENS = {"jwt": {"keysSecretName": "jwt", "keys": [{"algorithm": "HS256", "key": "hmac"}]}}


def wait_until(done, what, seconds=10):
    """Polls `done`; fails with `what` it waited for."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def is_open(port):
    with socket.socket() as it:
        return it.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """A process whose lines are read; it ends with the test."""

    def __init__(self, command):
        self.lines = []
        self.fresh = queue.Queue()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            self.fresh.put(line)

    def wait_for(self, text, seconds=10):
        """The next line with this text."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self.fresh.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {text!r} within {seconds} s; lines: {self.lines}") from None
            if text in line:
                return line

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=10)


class Gateway(Process):
    def __init__(self, folder, spec):
        (folder / "secrets/jwt").mkdir(parents=True)
        (folder / "secrets/jwt/hmac").write_bytes(SECRET)
        document = {"apiVersion": "headgate.dev/v1alpha1", "kind": "RealtimeGateway", "metadata": {"name": "test"}, "spec": spec}
        (folder / "gateway.yaml").write_text(json.dumps(document))
        command = [BINARY, "serve", str(folder / "gateway.yaml"), "--secrets", str(folder / "secrets"), "--log-format", "json"]
        super().__init__([*command, "--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"])
        listening = json.loads(self.wait_for('"listening"'))
        self.port, self.internal = (int(listening[name].rpartition(":")[2]) for name in ["public", "internal"])

    def readiness(self):
        """The status of /readyz; 0 once the process is gone."""
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.internal}/readyz", timeout=5).status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)


class Proxy(Process):
    """nginx or HAProxy with a file of this folder, on other ports."""

    def __init__(self, folder, file, gateway, replace=None):
        self.port = free_port()
        text = (HERE / file).read_text()
        changes = {"127.0.0.1:8000": f"127.0.0.1:{self.port}", "127.0.0.1:8080": f"127.0.0.1:{gateway.port}"}
        changes |= {"port 9090": f"port {gateway.internal}"} if "port 9090" in text else {}
        for old, new in {**(replace or {}), **changes}.items():
            assert old in text, f"{file} has no {old!r}"
            text = text.replace(old, new)
        config = folder / file
        config.write_text(text)
        name = file.partition("-")[0].partition(".")[0]
        binary = shutil.which(name) or f"/usr/sbin/{name}"
        if name == "nginx":
            command = [binary, "-e", "stderr", "-p", str(folder), "-c", str(config), "-g", f"daemon off; pid {folder}/nginx.pid;"]
        else:
            command = [binary, "-db", "-f", str(config)]
        super().__init__(command)
        wait_until(lambda: is_open(self.port) or self.process.poll() is not None, f"{file} listens")
        assert self.process.poll() is None, "".join(self.lines)

    def url(self, path="/ws"):
        return f"ws://127.0.0.1:{self.port}{path}"

    def end(self):
        # SIGTERM, since nginx's workers would outlive a killed master.
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            super().end()
