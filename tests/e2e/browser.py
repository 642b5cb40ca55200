"""Label Studio's labeling interface in a real Chromium, as an annotator uses it.

Selectors and the traps behind them are those of Label Studio 1.23.2. Every step waits for what a person would see next,
never for a time; ``window.Htx`` is the interface's own store, the only place that says which task is open.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from playwright.sync_api import Locator, Page, Response, expect, sync_playwright

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",  # CI runs as root
    "--no-proxy-server",
    "--no-first-run",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 30_000


@contextmanager
def open_page() -> Iterator[Page]:
    """A page of a fresh Chromium profile; the system's Chromium, since Playwright's own is a download."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=which("chromium") or "/usr/bin/chromium", args=CHROMIUM_ARGUMENTS
        )
        try:
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.set_default_timeout(PATIENCE_MS)
            yield page
        finally:
            browser.close()


class LabelingInterface:
    """What an annotator does and sees; ``page_errors`` is what broke in the interface's own scripts."""

    def __init__(self, page: Page, url: str) -> None:
        self._page = page
        self._url = url
        self.page_errors: list[str] = []
        page.on("pageerror", lambda error: self.page_errors.append(str(error)))

    def log_in(self, user: str, password: str) -> None:
        self._page.goto(f"{self._url}/user/login/")
        self._page.fill("input[name=email]", user)
        self._page.fill("input[name=password]", password)
        self._page.click("button[type=submit]")
        self._page.wait_for_url(lambda url: "/user/login" not in url)

    def open_task(self, project: int, task: int) -> None:
        """The quick view, beside the Data Manager's list."""
        self._page.goto(f"{self._url}/projects/{project}/data?task={task}")
        self._page.wait_for_function("task => window.Htx?.task?.id === task", arg=task)
        expect(self._submit_button).to_be_enabled()

    def open_stream(self, project: int) -> int:
        """ "Label all tasks": returns the id of the task that the label stream offers."""
        self._page.goto(f"{self._url}/projects/{project}/data?labeling=1")
        expect(self._submit_button).to_be_enabled()
        return self._task_id()

    def switch_on_auto_annotation(self) -> None:
        self._page.get_by_text("Auto-Annotation").click()
        expect(self._page.get_by_test_id("bottombar-auto-annotation-toggle")).to_be_checked()

    def ask(self, prompt: str) -> None:
        """Type a prompt and send it by Shift+Enter; returns when the ML backend's answer has arrived."""
        field = self._page.locator('textarea[name="prompt"]')
        field.fill(prompt)
        with self._page.expect_response(lambda response: "/interactive-annotating" in response.url):
            field.press("Shift+Enter")

    def choose(self, label: str) -> None:
        self._choice(label).click()
        self.expect_chosen(label)

    def expect_chosen(self, *labels: str) -> None:
        """These choices and no other are selected, at once or as soon as the interface gets to it."""
        chosen = self._page.locator(".lsf-choice__checkbox input:checked")
        expect(chosen).to_have_count(len(labels))
        for label in labels:
            expect(self._choice(label)).to_be_checked()

    def expect_text(self, text: str) -> None:
        expect(self._page.get_by_text(text)).to_be_visible()

    def submit(self) -> None:
        """Returns when the annotation is saved."""
        with self._page.expect_response(_saves_annotation):
            self._submit_button.click()

    def submit_in_stream(self) -> int:
        """Submit, and return the id of the task that the label stream offers next."""
        task = self._task_id()
        self.submit()
        self._page.wait_for_function("task => window.Htx?.task && window.Htx.task.id !== task", arg=task)
        expect(self._submit_button).to_be_enabled()
        return self._task_id()

    def screenshot(self, name: str) -> None:
        """Into the folder ``$SCREENSHOTS``, where it is set."""
        if folder := os.environ.get("SCREENSHOTS"):
            self._page.screenshot(path=Path(folder) / f"{name}.png")

    @property
    def _submit_button(self) -> Locator:
        return self._page.get_by_test_id("bottombar-submit-button")

    def _choice(self, label: str) -> Locator:
        return self._page.locator(f'.lsf-choice__checkbox input[name="{label}"]')

    def _task_id(self) -> int:
        return int(self._page.evaluate("() => window.Htx.task.id"))


def _saves_annotation(response: Response) -> bool:
    return response.request.method == "POST" and "/annotations" in response.url and response.ok
