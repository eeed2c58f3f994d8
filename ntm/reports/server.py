"""A server for one page, on this machine alone.

A web page of anybody's, open in the same browser, can send requests here: by a name of its own that leads to 127.0.0.1
(DNS rebinding), or as pictures and scripts. So a request must name this machine as its host, nothing is read by a
path, nothing is changed by a request, and other pages may not embed what is served.
"""

import hashlib
import socketserver
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from ntm.files import to_json
from ntm.reports.files import POLICY, get_plotly, make_shell, read_scripts, read_static

#: The only address that is served
ADDRESS = "127.0.0.1"
#: Seconds after which a connection that says nothing is closed
TIMEOUT = 10
HEADERS = {
    "Content-Security-Policy": POLICY.format(programs="'self'", styles="'self' 'unsafe-inline'")
    + "; connect-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Document(NamedTuple):
    """What is served at a path.

    Attributes
    ----------
    kind : str
        The media type.
    body : bytes
    tag : str
        Another one for other contents.
    """

    kind: str
    body: bytes
    tag: str


def make_document(kind: str, text: str) -> Document:
    """Return a text as what is served."""
    body = text.encode("utf-8", "backslashreplace")
    return Document(f"{kind}; charset=utf-8", body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


class PageServer(ThreadingHTTPServer):
    """Serves a page at 127.0.0.1, from its own threads.

    A context manager: the server answers within the context.

    Parameters
    ----------
    contents : dict
        As of :meth:`ntm.reports.Page.make`.
    port : int
        0 takes any port that is free.

    Attributes
    ----------
    url : str
        The address of the page.
    contents : dict
        What is served now.

    Raises
    ------
    OSError
        If the port is in use, or may not be used.
    """

    daemon_threads = True

    def __init__(self, contents: dict[str, Any], port: int = 0) -> None:
        self.documents = {
            "/": make_document("text/html", make_shell(contents["title"])),
            "/page.css": make_document("text/css", read_static("page.css")),
            "/plotly.js": make_document("text/javascript", get_plotly()),
            **{f"/{name}": make_document("text/javascript", text) for name, text in read_scripts()},
        }
        self.publish(contents)
        super().__init__((ADDRESS, port), _Handler)
        self.hosts = {f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")}
        self.url = f"http://{ADDRESS}:{self.server_port}/"
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    def server_bind(self) -> None:
        """Bind without asking for the name of this machine, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, self.server_address[1]

    def publish(self, contents: dict[str, Any]) -> None:
        """Serve these contents from now on; pages that are open take them over."""
        self.contents = contents
        self.documents["/contents.json"] = make_document("application/json", to_json(contents))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that goes before it has the answer."""

    def __enter__(self) -> "PageServer":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = TIMEOUT
    server_version, sys_version = "ntm", ""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0] not in self.server.hosts:
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "this page is at its own address only")
            return
        document = self.server.documents.get(self.path)
        if document is None:
            self.send_error(HTTPStatus.NOT_FOUND, "there is no such page")
        elif self.headers.get("If-None-Match") == document.tag:
            self._send(HTTPStatus.NOT_MODIFIED, document._replace(body=b""))
        else:
            self._send(HTTPStatus.OK, document)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with a line of text; what was asked for does not come back."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            code, message = HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are answered"
        status = HTTPStatus(code)
        text = message if message in KNOWN else status.phrase
        self._send(status, make_document("text/plain", f"{status.value}: {text}\n"))

    def _send(self, status: HTTPStatus, document: Document) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.send_header("Content-Type", document.kind)
        self.send_header("Content-Length", str(len(document.body)))
        self.send_header("ETag", document.tag)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(document.body)

    def log_message(self, format: str, *values: Any) -> None:
        """Print nothing."""


#: The messages of this module: others may hold what was asked for
KNOWN = {
    "this page is at its own address only",
    "there is no such page",
    "only GET and HEAD are answered",
}
