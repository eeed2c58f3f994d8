"""The server of a page answers on this machine alone, and reads nothing by a path."""

import http.client
import json
import socket

import pytest

from ntm.reports import PageServer

CONTENTS = {"title": "<b>a page</b>", "names": [], "sections": []}


@pytest.fixture(scope="module")
def server():
    with PageServer(CONTENTS) as server:
        yield server


def ask(server, path="/", method="GET", **headers):
    """Return status, headers and text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        for each in value if isinstance(value, list) else [value]:
            connection.putheader(name.replace("_", "-"), each)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


def test_the_page_and_its_files(server):
    status, headers, text = ask(server)
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<title>&lt;b&gt;a page&lt;/b&gt;</title>" in text
    for name in ("page.css", "charts.js", "explorer.js", "page.js", "plotly.js"):
        assert f'"{name}"' in text
        assert ask(server, f"/{name}")[0] == 200
    assert json.loads(ask(server, "/contents.json")[2]) == CONTENTS


def test_it_listens_on_this_machine_alone(server):
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:1",
        "[::1]:{port}",
        "",
    ],
)
def test_other_hosts_are_refused(server, host):
    status, _, text = ask(server, "/contents.json", Host=host.format(port=server.server_port))
    assert status == 421
    assert "a page" not in text


def test_hosts(server):
    port = server.server_port
    assert ask(server, Host=f"localhost:{port}")[0] == 200
    assert ask(server, Host=[f"localhost:{port}", "evil.example"])[0] == 421
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /contents.json HTTP/1.0\r\n\r\n")
        assert b" 421 " in connection.recv(100)


@pytest.mark.parametrize(
    "path",
    [
        "/settings.json",
        "/static/page.js",
        "/../page.py",
        "/%2e%2e/page.py",
        "//etc/passwd",
        "/page.js/",
        "/page.js?a",
    ],
)
def test_nothing_else_is_served(server, path):
    status, _, text = ask(server, path)
    assert (status, text) == (404, "404: there is no such page\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "X"])
def test_other_methods_are_refused(server, method):
    status, headers, _ = ask(server, "/", method)
    assert status == 405
    assert headers["Allow"] == "GET, HEAD"


def test_head(server):
    status, headers, text = ask(server, "/page.js", "HEAD")
    assert (status, text) == (200, "")
    assert int(headers["Content-Length"]) > 1000


def test_headers(server):
    for path in ("/", "/contents.json", "/nothing"):
        _, headers, _ = ask(server, path)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self';" in policy
        assert "unsafe-eval" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in headers


def test_bad_requests_come_back_as_no_html(server):
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(b"<script>alert(1)</script> / HTTP/9.9 x\r\n\r\n")
        answer = connection.recv(5000)
    assert b"script>" not in answer
    assert b"text/html" not in answer


def test_news_have_another_tag():
    with PageServer(CONTENTS) as server:
        _, headers, _ = ask(server, "/contents.json")
        tag = headers["ETag"]
        assert ask(server, "/contents.json", If_None_Match=tag)[0] == 304
        server.publish({**CONTENTS, "title": "news"})
        status, headers, text = ask(server, "/contents.json", If_None_Match=tag)
        assert (status, json.loads(text)["title"]) == (200, "news")
        assert headers["ETag"] != tag


def test_a_port_in_use(server):
    with pytest.raises(OSError, match="in use"):
        PageServer(CONTENTS, server.server_port)


def test_it_ends_while_a_browser_is_connected():
    with PageServer(CONTENTS) as server:
        connection = socket.create_connection(("127.0.0.1", server.server_port), timeout=10)
    connection.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.server_port), timeout=10)
