"""A gateway and a proxy in front of it: real binaries, the files beside this one, free ports of loopback."""

import shutil, signal, socket, subprocess, sys, time, urllib.error, urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "started"))

from started import KEYS, SECRET, Process, Started  # noqa: F401  for the tests

TOKENS = {"jwt": KEYS}


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


class Gateway(Started):
    def __init__(self, folder, spec):
        super().__init__(folder, spec)
        self.serve()
        self.port, self.internal = (int(it.rpartition(":")[2]) for it in self.addresses())

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

    def end(self):
        self.kill()


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
        self.begin(command)
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
            pass
        self.kill()
