"""A real S3 server (moto, in a process of its own) behind a proxy that can be slow, lose requests and refuse them."""

import contextlib
import http.client
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Refuses a request, given its method and path: an HTTP status; None lets it pass; "drop" and "cut" break it.
Rule = Callable[[str, str], int | str | None]


class Proxy:
    """A proxy in front of the server, in threads of the test.

    Attributes:
      address: where clients find it.
      rule: what happens to requests; by default all pass.
      delay: seconds that every answer takes longer.
      requests: method and path of every request so far.
    """

    def __init__(self, port: int) -> None:
        self.rule: Rule | None = None
        self.delay, self.requests = 0.0, list[tuple[str, str]]()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                """Print nothing."""

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.requests.append((self.command, self.path))
                verdict = proxy.rule(self.command, self.path) if proxy.rule else None
                time.sleep(proxy.delay)
                if verdict == "drop":
                    self.close_connection = True
                    return
                if isinstance(verdict, int):
                    codes = {403: "AccessDenied", 500: "InternalError", 503: "SlowDown"}
                    self.answer(verdict, [], f"<Error><Code>{codes[verdict]}</Code></Error>".encode())
                    return
                server = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                server.request(self.command, self.path, body=body, headers=dict(self.headers))
                response = server.getresponse()
                content = response.read()
                dropped = ("transfer-encoding", "connection")
                kept = [(name, value) for name, value in response.getheaders() if name.lower() not in dropped]
                self.answer(response.status, kept, content, cut=verdict == "cut")
                server.close()

            def answer(self, status: int, headers: list[tuple[str, str]], body: bytes, *, cut: bool = False) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                if "content-length" not in {name.lower() for name, _ in headers}:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(b"" if self.command == "HEAD" else body[: len(body) // 2] if cut else body)
                self.close_connection |= cut

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: object) -> None:
                """A client that is killed breaks its connection."""

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @contextlib.contextmanager
    def ruled(self, rule: Rule, *, delay: float = 0.0) -> Iterator[None]:
        """Apply a rule within the block."""
        self.rule, self.delay = rule, delay
        try:
            yield
        finally:
            self.rule, self.delay = None, 0.0


def unreliable(share: float, seed: int = 0) -> Rule:
    """A rule by which a share of the requests is lost, answered with an error, or answered by half."""
    draw = random.Random(seed)
    return lambda method, path: draw.choice(["drop", 500, 503, "cut"]) if draw.random() < share else None


def refusing(pattern: str, status: int = 403) -> Rule:
    """A rule that refuses requests by "METHOD PATH"."""
    return lambda method, path: status if re.search(pattern, f"{method} {path}") else None


@contextlib.contextmanager
def running() -> Iterator[Proxy]:
    """Run the server and yield its proxy."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-P", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.1)
        proxy = Proxy(port)
        yield proxy
        proxy.close()
    finally:
        server.kill()
        server.wait()
