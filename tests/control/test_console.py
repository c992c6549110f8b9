"""The console: the files of the page, the headers that a browser gets, and that other sites cannot use the API."""

import http.client
import re

import pytest
from test_http import TOKEN, Running

from kwire.control.console import CONSOLE_PATH, console_files

FILES = {name: content.decode() for name, content in console_files().items()}
SCRIPTS = [name for name in FILES if name.endswith(".js")]


@pytest.fixture(scope="module")
def shared():
    with Running(console=True) as running:
        yield running


def get(control, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", control.port, timeout=150)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def test_the_page_and_its_files_are_served_with_their_types(shared):
    types = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    for name, content in FILES.items():
        status, headers, body = get(shared, CONSOLE_PATH + ("" if name == "index.html" else name))
        assert (status, body) == (200, content), name
        assert headers["Content-Type"].partition(";")[0] == types[name.rpartition(".")[2]]
    status, headers, _ = get(shared, "/")
    assert (status, headers["Location"]) == (307, CONSOLE_PATH)


def test_a_browser_runs_only_files_of_the_page(shared):
    policy = get(shared, CONSOLE_PATH)[1]["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    headers = get(shared, "/v1/topics")[1]
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_needs_nothing_from_elsewhere():
    for name, content in FILES.items():
        addresses = set(re.findall(r"https?://[^\s\"'<>]+", content))
        assert addresses <= {"http://www.w3.org/2000/svg"}, name


def test_each_file_that_the_page_names_is_there():
    named = set(re.findall(r'(?:src|href)="([^"#]+)"', FILES["index.html"]))
    for name in SCRIPTS:
        named |= {each.removeprefix("./") for each in re.findall(r'from "([^"]+)"', FILES[name])}
    assert named == FILES.keys() - {"index.html"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_makes_html_or_code_of_strings(name):
    for sink in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "srcdoc",
        "javascript:",
        "DOMParser",
        "createContextualFragment",
    ):
        assert sink not in FILES[name], sink


def test_each_address_that_a_script_asks_is_in_the_document(shared):
    paths = shared.ask("GET", "/v1/openapi.json")[1]["paths"]
    shapes = {re.sub(r"\{name\}", "*", path) for path in paths}
    asked = set()
    for name in SCRIPTS:
        asked |= {each.partition("?")[0] for each in re.findall(r'"(/v1/[\w/.?=]+)"', FILES[name])}
        for arguments in re.findall(r"\bpath\(([^()]*)\)", FILES[name]):
            parts = [part.strip() for part in arguments.split(",")]
            if not any(part.startswith("...") for part in parts):
                asked.add("/v1/" + "/".join(part[1:-1] if part.startswith('"') else "*" for part in parts))
    assert len(asked) >= 15
    assert asked - shapes == set()


def test_each_label_of_a_table_or_a_form_is_there():
    page = FILES["index.html"]
    assert '<html lang="en">' in page
    assert 'class="skip" href="#main"' in page
    assert 'role="status"' in page
    assert 'role="alert"' in page
    assert 'aria-label="Views"' in page


def test_data_of_clients_is_never_html(shared):
    script = "<script>alert(1)</script>"
    record = {"key": script, "value": script, "headers": [[script, script]]}
    shared.ask("POST", "/v1/topics", {"name": "hostile"})
    assert shared.ask("POST", "/v1/topics/hostile/records", {"records": [record]})[0] == 201
    shared.heartbeat(group=script)
    for path in ("/v1/topics/hostile/records", "/v1/requests", "/v1/topics/" + script, "/v1/faults/%3Cscript%3E"):
        _, headers, body = get(shared, path.replace("<", "%3C").replace(">", "%3E"))
        assert headers["Content-Type"].partition(";")[0] in ("application/json", "text/plain"), path
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert path.startswith("/v1/topics/<") or "script" in body


def test_without_the_console_there_is_no_page():
    with Running() as control:
        assert get(control, CONSOLE_PATH)[0] == 404
        assert get(control, "/")[0] == 404


def test_the_page_needs_no_token_and_its_data_does():
    with Running(token=TOKEN, console=True) as control:
        assert get(control, CONSOLE_PATH)[0] == 200
        assert get(control, CONSOLE_PATH + "main.js")[0] == 200
        assert get(control, "/v1/topics")[0] == 401
        assert get(control, CONSOLE_PATH + "../v1/topics")[0] in (401, 404)
        assert control.ask("POST", CONSOLE_PATH)[0] == 401
        assert get(control, "/v1/topics", Authorization=f"Bearer {TOKEN}")[0] == 200


def test_a_name_of_another_site_that_leads_here_is_refused(shared):
    for host in ("example.org", f"example.org:{shared.port}", "localhost.example.org", "127.0.0.1.example.org", ""):
        assert get(shared, CONSOLE_PATH, Host=host)[0] == 403, host
        assert get(shared, "/v1/topics", Host=host)[0] == 403, host
    assert get(shared, "/v1/topics", Host=f"localhost:{shared.port}")[0] == 200
    assert get(shared, "/v1/topics", Host=f"[::1]:{shared.port}")[0] == 200


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Origin": "http://127.0.0.1:{port}"}, True),
        ({"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}, True),
        ({}, True),
        ({"Origin": "http://example.org"}, False),
        ({"Origin": "http://127.0.0.1:1"}, False),
        ({"Origin": "http://localhost:{port}"}, False),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, False),
    ],
)
def test_a_page_of_another_origin_cannot_write(shared, headers, allowed):
    given = {name: value.format(port=shared.port) for name, value in headers.items()}
    before = shared.ask("POST", "/v1/faults", {"name": "stays", "api": "Heartbeat", "drop": True})[0]
    assert before == 201
    try:
        # Without a body, as a form sends it: this needs no preflight.
        assert shared.ask("POST", "/v1/faults/stays/release", **given)[0] == (200 if allowed else 403)
        assert shared.ask("GET", "/v1/faults/stays")[1]["released"] is allowed
    finally:
        shared.ask("DELETE", "/v1/faults/stays")


def test_a_form_cannot_write(shared):
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"):
        assert shared.ask("POST", "/v1/reset", **{"Content-Type": kind})[0] == 400, kind


def test_a_link_on_another_site_leads_to_the_page(shared):
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert get(shared, CONSOLE_PATH, **link)[0] == 200
    assert get(shared, CONSOLE_PATH, **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"})[0] == 403
