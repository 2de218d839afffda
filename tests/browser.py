"""A person at a browser window."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

_IDLE = "new Promise(done => requestIdleCallback(() => requestIdleCallback(done, {timeout: 500}), {timeout: 500}))"
"""The address changes, and a run begins and ends, a few milliseconds before the screen shows it.

A browser that has too much to do is never idle.
"""

_SECONDS = 60
"""Time for anything that is waited for."""


class Visitor:
    """One browser window, and what a person sees and does in it."""

    def __init__(self, page, url):
        self.page = page
        self._url = url

    def open(self, address=""):
        self.page.goto(address if "://" in address else self._url + address)
        self.page.locator(".kalm-card, .kalm-notice, .kalm-welcome").first.wait_for()
        return self

    def click(self, name, role="button"):
        self.page.get_by_role(role, name=name).click()

    def ask(self, question):
        field = self.page.get_by_role("searchbox")
        field.fill(question)
        field.press("Enter")

    def settle(self, **params):
        """Wait until the address holds these parameters and the page has been drawn for them."""
        self.page.wait_for_url(lambda url: params.items() <= self.params(url).items())
        idle = self.page.locator(".stApp[data-test-script-state=notRunning]")
        deadline = time.monotonic() + _SECONDS
        self.page.evaluate(_IDLE)
        while True:
            idle.wait_for()
            self.page.locator("[data-stale=true]").first.wait_for(state="detached")
            self.page.evaluate(_IDLE)
            if idle.count():
                return self
            assert time.monotonic() < deadline, "the page is drawn again and again"

    def params(self, url=None):
        """What an address, or the one shown now, asks for."""
        found = parse_qs(urlsplit(url or self.page.url).query)
        return {name: values[0] if len(values) == 1 else set(values) for name, values in found.items()}

    def titles(self):
        """The results, in order."""
        return self.page.locator(".kalm-title").all_inner_texts()

    def sources(self):
        """The files the results are from."""
        return self.page.locator(".kalm-source").all_inner_texts()

    def counts(self, group):
        """The filters of a group with their counts; 0 where none stands there."""
        words = self.page.get_by_role("toolbar", name=group).get_by_role("button").all_inner_texts()
        found = [re.fullmatch(r"(.*?)(?: ([\d,]+))?", text) for text in words]
        return {match[1]: int((match[2] or "0").replace(",", "")) for match in found}

    def overflow(self):
        """By how many pixels the page is wider than its window."""
        script = "() => [document.documentElement, document.querySelector('[data-testid=stMain]')]"
        return self.page.evaluate(f"Math.max(...({script})().map(box => box.scrollWidth - box.clientWidth))")


@contextmanager
def open_window(browser, url, hosts=("localhost",), **options) -> Iterator[Visitor]:
    """Open a window; in the end it must have asked nobody but these hosts, and found nothing to complain about."""
    requests, complaints = [], []
    with browser.new_context(**({"locale": "en-US", "viewport": {"width": 1280, "height": 900}} | options)) as context:
        page = context.new_page()
        page.set_default_timeout(_SECONDS * 1000)
        page.on("request", lambda request: requests.append(request.url))
        page.on("websocket", lambda socket: requests.append(socket.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if _is_complaint(said) else None)
        yield Visitor(page, url)
    assert complaints == []
    assert {urlsplit(url).hostname for url in requests if not url.startswith(("data:", "blob:"))} == {*hosts}


def _is_complaint(said):
    """Streamlit looks for itself under the path of a page opened by its address, before it looks at the root."""
    return said.type == "error" and not re.search(r"/[a-z]+/_stcore/(health|host-config)$", said.location["url"])
