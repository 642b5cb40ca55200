"""A reverse proxy for the tests: real HTTP on loopback, passed on from under a path.

Like nginx with ``proxy_pass http://backend:9090;`` (the path stays) or ``proxy_pass http://backend:9090/;`` (it is
taken off), and like nginx it gives the backend's own address as ``Host``.
"""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def reverse_proxy(port: int, path: str, *, strips: bool) -> Iterator[str]:
    """The address under which what listens at ``port`` is reached, ``path`` included."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not f"{self.path}/".startswith(f"{path}/"):
                self.send_error(404, "the proxy knows no such path")
                return
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            asked = self.path.removeprefix(path) if strips else self.path
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {**self.headers, "Host": f"127.0.0.1:{port}", "Connection": "close"}
            upstream.request(self.command, asked or "/", body, headers)
            answer = upstream.getresponse()
            said = answer.read()
            upstream.close()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="reverse-proxy")
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}{path}"
        server.shutdown()
        thread.join()
