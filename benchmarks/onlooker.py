"""A door in front of an LLM's server that lets everything through and counts what it sees."""

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

LONGEST_ANSWER_S = 600


class Onlooker:
    """What was seen at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self.seen: Counter[tuple[str, int]] = Counter()
        """How often which ``response_format`` was asked for and answered with which status."""

    def forget(self) -> None:
        with self._lock:
            self.seen = Counter()

    def see(self, body: bytes, status: int) -> None:
        form = (json.loads(body).get("response_format") or {"type": "no form"}) if body else {"type": "nothing"}
        name = f"{form['type']} with a schema" if "schema" in form else form["type"]
        with self._lock:
            self.seen[name, status] += 1


@contextmanager
def onlooker(url: str) -> Iterator[Onlooker]:
    """
    :param url: of the server, over plain HTTP.
    """
    server_url = urlsplit(url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            upstream = http.client.HTTPConnection(server_url.hostname or "", server_url.port, LONGEST_ANSWER_S)
            headers = {**self.headers, "Host": server_url.netloc, "Connection": "close", "Accept-Encoding": "identity"}
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            said = answer.read()
            upstream.close()
            seen.see(body, answer.status)
            self.send_response(answer.status)
            for name in {"Content-Type", "Retry-After"} & set(answer.headers):
                self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        seen = Onlooker(f"http://127.0.0.1:{server.server_address[1]}{server_url.path}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="onlooker")
        thread.start()
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join()
