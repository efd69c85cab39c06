"""The way from one pod to NATS, that can be cut."""

import contextlib, socket, threading


class Way:
    def __init__(self, port):
        self.to, self.is_open, self.ends = port, True, []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"nats://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):  # it is closed
            while True:
                end, _ = self.server.accept()
                try:
                    assert self.is_open
                    other = socket.create_connection(("127.0.0.1", self.to))
                except (AssertionError, OSError):
                    end.close()
                    continue
                self.ends += [end, other]
                for pair in [(end, other), (other, end)]:
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

    def cut(self):
        """Ends what goes over it, and lets nothing more through."""
        self.is_open = False
        for end in self.ends:
            shut(end)
        self.ends = []

    def mend(self):
        self.is_open = True

    def close(self):
        self.cut()
        shut(self.server)
        self.server.close()


def pass_on(one, other):
    with contextlib.suppress(OSError):
        while data := one.recv(65_536):
            other.sendall(data)
    shut(one)
    shut(other)


def shut(end):
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
