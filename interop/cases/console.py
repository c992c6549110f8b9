"""The console in headless Chromium: every view, by keyboard, with hostile names and records, light and dark.

Needs playwright and a Chromium: that of the system, or the path in CHROMIUM.
"""

import contextlib
import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from interop.brokers import PYTHON
from interop.case import Run, Skip, case
from interop.jars import Missing

SCRIPT = "<script>window.hacked=1</script>"
IMAGE = "<img src=x onerror='window.hacked=1'>"
VIEWS = ("topics", "messages", "groups", "transactions", "connections", "configs", "access", "requests", "faults")
UNNAMED = """() => [...document.querySelectorAll("main input, main select, main textarea, main button, nav a")].filter(
  (each) => !each.labels?.length && !each.getAttribute("aria-label") && !each.textContent.trim()
).map((each) => each.outerHTML)"""


@dataclass
class Console:
    """A broker with the console, and a page of Chromium that shows it. ``problems`` are the browser's errors."""

    url: str
    bootstrap: str
    page: Any
    problems: list[str]
    clients: tuple[Any, ...] = ()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, content, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def show(self, view: str) -> None:
        self.page.goto(f"{self.url}/console/#/{view}")
        self.page.locator("main h1").wait_for()


@contextlib.contextmanager
def console(run: Run, *options: str) -> Iterator[Console]:
    if run.target != "kwire":
        raise Skip("the console is kwire's")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise Missing("playwright is not installed") from None
    browser_path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        raise Missing("Chromium is not installed")
    command = [PYTHON, "-P", "-m", "kwire", "serve", "--memory", "--port", "0", "--control", "0", "--console"]
    command += ["--stop-at-eof", "--log-level", "warning", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as broker:
        addresses = dict(broker.stdout.readline().split() for _ in range(3))
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.set_default_timeout(20_000)
                problems: list[str] = []
                page.on("console", lambda message: message.type == "error" and problems.append(message.text))
                page.on("pageerror", lambda error: problems.append(str(error)))
                bootstrap = addresses["ready"].partition("://")[2]
                yield Console(addresses["control"], bootstrap, page, problems)
                browser.close()
        finally:
            broker.stdin.close()


def fill(shown: Console) -> None:
    """Topics with hostile records, a group and clients with hostile names."""
    from confluent_kafka import Consumer, Producer

    orders = [
        {"key": f"order-{number}", "value": {"id": number, "cents": 100 * number}, "headers": [["source", "shop"]]}
        for number in range(20)
    ]
    hostile = [{"key": SCRIPT, "value": IMAGE, "headers": [[SCRIPT, IMAGE]]}, {"value": {"base64": "/wD+"}}]
    users, acls = {"alice": "secret", SCRIPT: "secret"}, ["alice may read topic orders", "anyone may describe cluster"]
    topics = {"orders": {"partitions": 3, "records": orders}, "hostile": {"records": hostile}}
    shown.ask("POST", "/v1/seed", {"topics": topics, "users": users, "acls": acls})
    common = {"bootstrap.servers": shown.bootstrap, "client.id": IMAGE, "log_level": 0}
    producer = Producer({**common, "transactional.id": SCRIPT})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce("orders", "in a transaction", "tx")
    producer.commit_transaction(20)
    billing = {"client.id": "billing-1", "group.id": "billing", "enable.auto.commit": False}
    consumer = Consumer({**common, **billing, "auto.offset.reset": "earliest"})
    consumer.subscribe(["orders"])
    read = 0
    while read < 5:
        message = consumer.poll(1)
        read += message is not None and message.error() is None
    consumer.commit(asynchronous=False)
    # Both stay connected as long as the page is looked at.
    shown.clients = (producer, consumer)
    named = Consumer({**common, "group.id": SCRIPT, "auto.offset.reset": "earliest"})
    named.subscribe(["hostile"])
    assert named.poll(20) is not None
    named.commit(asynchronous=False)
    named.close()


@case("console", "chromium")
def every_view_shows_what_clients_sent_as_text(run: Run) -> None:
    with console(run) as shown:
        fill(shown)
        page = shown.page
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            for view in VIEWS:
                where = "messages/orders" if view == "messages" else view
                shown.show(where)
                page.reload()
                page.locator("main tbody tr").first.wait_for() if view != "faults" else page.get_by_role(
                    "switch"
                ).first.wait_for()
                assert page.evaluate(UNNAMED) == [], view
                page.screenshot(path=run.folder / f"{view}-{theme}.png")
        shown.show("messages/hostile")
        page.get_by_role("button", name="Details").first.click()
        page.get_by_text(f"Header {SCRIPT}").wait_for()
        page.get_by_label("Show key and value as").select_option("hex")
        page.get_by_text("3c 73 63 72 69 70 74").first.wait_for()
        shown.show("groups")
        page.get_by_role("link", name=SCRIPT).click()
        page.get_by_role("heading", name=f"Group {SCRIPT}").wait_for()
        shown.show("groups/billing")
        page.get_by_role("img", name="Lag in records").wait_for()
        for values in ("abcdef", "gh", "ijklmnopqr"):
            shown.ask("POST", "/v1/topics/orders/records", {"records": [{"value": value} for value in values]})
            lag = shown.ask("GET", "/v1/groups/billing")["lag"]
            page.get_by_text(f"members: 1, lag: {lag}.").wait_for()
            page.locator(".legend", has_text=f"now {lag}").wait_for()
        page.screenshot(path=run.folder / "group.png")
        shown.show("connections")
        page.get_by_role("cell", name=IMAGE).first.wait_for()
        shown.show("transactions")
        page.get_by_role("cell", name=SCRIPT, exact=True).wait_for()
        assert page.evaluate("window.hacked") is None
        assert shown.problems == []


@case("console", "chromium")
def messages_are_produced_followed_and_found_by_keyboard(run: Run) -> None:
    with console(run) as shown:
        page = shown.page
        shown.ask("POST", "/v1/topics", {"name": "orders"})
        shown.show("topics")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.get_by_role("link", name="Messages of orders").focus()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Messages of orders").wait_for()
        page.get_by_role("button", name="Follow live").focus()
        page.keyboard.press("Space")
        page.get_by_text("Records appear here as they are written.").wait_for()
        form = page.get_by_role("form", name="Produce")
        form.get_by_label("Key", exact=True).focus()
        page.keyboard.type("k1")
        form.get_by_label("Value", exact=True).focus()
        page.keyboard.type('{"cents": 5}')
        form.get_by_label("Headers, one on each line").focus()
        page.keyboard.type("source: console")
        form.get_by_role("button", name="Send").focus()
        page.keyboard.press("Enter")
        page.get_by_role("status").filter(has_text="Written to orders-0 at offset 0.").wait_for()
        page.get_by_role("cell", name='{"cents": 5}').wait_for()
        (record,) = shown.ask("GET", "/v1/topics/orders/records")
        assert (record["key"], record["headers"]) == ("k1", [["source", "console"]])
        page.get_by_label("Search for text").fill("cents")
        page.keyboard.press("Enter")
        page.get_by_text("1 record found in 1.").wait_for()
        assert shown.problems == []


@case("console", "chromium")
def switches_arm_rules_and_move_the_clock(run: Run) -> None:
    with console(run) as shown:
        page = shown.page
        shown.show("faults")
        slow = page.get_by_role("switch", name="Each request waits 500 ms")
        slow.focus()
        page.keyboard.press("Space")
        page.locator("[role=switch][aria-checked=true]", has_text="Each request waits").wait_for()
        (rule,) = shown.ask("GET", "/v1/faults")
        assert rule["rule"]["delay_ms"] == 500
        slow.press("Space")
        page.locator("[role=switch][aria-checked=false]", has_text="Each request waits").wait_for()
        assert shown.ask("GET", "/v1/faults") == []
        before = shown.ask("GET", "/v1/clock")["now_ms"]
        page.get_by_role("button", name="Advance by 1 h").press("Enter")
        page.get_by_role("status").filter(has_text="moved by 1 h").wait_for()
        assert shown.ask("GET", "/v1/clock")["now_ms"] - before >= 3_600_000
        page.get_by_role("switch", name="The clock stands still").press("Space")
        page.locator("[role=switch][aria-checked=true]", has_text="stands still").wait_for()
        assert shown.ask("GET", "/v1/clock")["rate"] == 0
        page.get_by_label("Value").fill("NO_SUCH_ERROR")
        page.get_by_role("button", name="Arm", exact=True).press("Enter")
        page.get_by_role("alert").filter(has_text="NO_SUCH_ERROR").wait_for()
        # The browser logs the status 400 of the refusal, and nothing else.
        assert [each for each in shown.problems if "400" not in each] == []


@case("console", "chromium")
def focus_and_names_serve_the_keyboard_and_a_screen_reader(run: Run) -> None:
    with console(run) as shown:
        fill(shown)
        page = shown.page
        shown.show("messages")
        topic = page.get_by_role("combobox", name="Topic")
        topic.focus()
        # Arrow keys choose, they do not lead elsewhere.
        for name in ("__consumer_offsets", "__transaction_state", "hostile", "orders"):
            page.keyboard.press("ArrowDown")
            assert topic.input_value() == name
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Messages of orders").wait_for()
        assert page.evaluate("document.activeElement.tagName") == "H1"
        details = page.get_by_role("button", name="Details of partition 0 offset 0", exact=True)
        details.press("Enter")
        assert details.get_attribute("aria-expanded") == "true"
        page.get_by_role("group", name="Value").focus()
        shown.show("faults")
        page.get_by_role("switch", name="The disk is full", exact=True).wait_for()
        shown.show("groups/billing")
        remove = page.get_by_role("button", name="Remove billing-1")
        remove.focus()
        page.keyboard.press("Enter")
        remove.wait_for(state="detached")
        assert page.evaluate("document.activeElement.querySelector('caption').textContent") == "Members"
        # At 400 % of 1280 pixels only tables scroll sideways.
        page.set_viewport_size({"width": 320, "height": 640})
        for view in (*VIEWS, "messages/orders", "groups/billing", "topics/orders"):
            shown.show(view)
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") == 320, view
        assert shown.problems == []
