"""A real JupyterLab, a real Voila and a real Chromium, for widgets: opened and used as a person would.

A test takes the fixture `lab` (or `voila`), opens a notebook made of code cells, acts on its page, and asks the kernel
what came of it:

    def test_keep_and_drop(lab):
        nb = lab.open("w = show(Sieve(['a', 'b']))", "w")
        nb.widget.get_by_role("button", name="Keep").click()
        nb.until("w.kept", [0])

`nb.page` is Playwright's page, `nb.widget` the first widget in it, `nb.ask` evaluates in the kernel, `nb.shot` keeps a
screenshot under _build/screenshots. When a notebook is closed, what its page complained of is an error of the test.
"""
import ast
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from run_notebooks import ROOT

SHOTS = ROOT / "_build" / "screenshots"
LAPTOP, PHONE = {"width": 1366, "height": 768}, {"width": 360, "height": 740}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]
GET = "needs Chromium and Playwright: apt-get install chromium; pip install -c constraints.txt playwright"
SECONDS = 60                            # to start a server, a kernel or a page on a busy machine

# Rows that want to break out of a page, in the order of their cunning; the code of a notebook, as tests put them there.
HOSTILE = """hostile = ["<script>window.ran=1</script>", "<img src=x onerror='window.ran=2'> [x](javascript:1)",
           "</style></table></svg><h1>out</h1><svg onload='window.ran=3'>", "\\u202egnp.exe",
           "\\x1b[31mred\\x1b[0m\\x00", "x" * 1_000_000]
"""
BROKEN_OUT = """() => [window.ran, ...document.querySelectorAll(".dt-w :is(script, img, h1)")]
  .filter(x => x !== undefined)"""

KERNEL = """async () => {
  const w = window.jupyterapp.shell.currentWidget;
  await w.context.ready; await w.context.sessionContext.ready; await w.context.sessionContext.session.kernel.info;
  window.kernel = () => w.context.sessionContext.session.kernel;
  window.command = (name, args) => window.jupyterapp.commands.execute(name, args);
}"""
ASK = """async code => {
  const asked = { code: "", user_expressions: { v: code }, store_history: false };
  const reply = await window.kernel().requestExecute(asked).done;
  const v = reply.content.user_expressions.v;
  if (v.status !== "ok") throw new Error(v.ename + ": " + v.evalue);
  return v.data["text/plain"];
}"""
# Elements of widgets that are wider than the room they have; and the page as a whole.
WIDE = """() => [document.documentElement, ...document.querySelectorAll(".dt-w, .dt-w *")].filter(e => {
  const s = getComputedStyle(e);
  return e.clientWidth > 1 && s.display !== "inline" && !["INPUT", "SELECT"].includes(e.tagName)
    && e.scrollWidth > e.clientWidth + 1;
}).map(e => `${e.tagName}.${e.className}: ${e.scrollWidth} > ${e.clientWidth}`)"""

# Texts of widgets whose computed colours are too near to what lies below them (WCAG 2: 4.5 to 1).
FAINT = """() => {
  const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 })
    .getContext("2d", { willReadFrequently: true });
  const rgba = colour => {
    pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]));
  const below = e => {
    const sheets = [];
    for (let n = e; n; n = n.parentElement) sheets.push(rgba(getComputedStyle(n).backgroundColor));
    return sheets.reverse().reduce((b, sheet) => over(sheet, b), [255, 255, 255]);
  };
  const light = c => {
    const [r, g, b] = c.map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const told = e => e.matches("input,select,textarea")
    || [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  const all = [...document.querySelectorAll(".dt-widget .dt-w *")].filter(e => told(e) && e.checkVisibility());
  if (!all.length) return ["no text was found"];
  return all.map(e => {
    const s = getComputedStyle(e), paper = below(e), ink = rgba(e instanceof SVGElement ? s.fill : s.color);
    const [a, b] = [light(over(ink, paper)), light(paper)].sort((x, y) => x - y);
    return [(b + .05) / (a + .05), e];
  }).filter(([ratio]) => ratio < 4.5).map(([ratio, e]) =>
    `${ratio.toFixed(2)} ${e.tagName}.${e.className.baseVal ?? e.className}: ${e.textContent.slice(0, 40)}`);
}"""


def chromium() -> str:
    "The browser of this machine; without one the test is skipped, or fails where DATASET_TUTOR_BROWSER=required"
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    try:
        import playwright  # noqa: F401
    except ModuleNotFoundError:
        found = None
    if found is None:
        (pytest.fail if os.environ.get("DATASET_TUTOR_BROWSER") == "required" else pytest.skip)(GET)
    return found


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def server(command: list, folder: Path, ready: str):
    "A server as a child process, with settings of its own; yields its address"
    port, own = free_port(), folder.parent / "jupyter"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
           "JUPYTER_PREFER_ENV_PATH": "1", "IPYTHONDIR": str(own / "ipython"), "LANG": "C.UTF-8",
           "JUPYTER_CONFIG_DIR": str(own / "config"), "JUPYTER_DATA_DIR": str(own / "data"),
           "JUPYTER_RUNTIME_DIR": str(own / "runtime"), "JUPYTERLAB_SETTINGS_DIR": str(own / "settings"),
           "JUPYTERLAB_WORKSPACES_DIR": str(own / "workspaces")}
    env.pop("IN_TEST", None)
    news = own / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True, exist_ok=True)
    news.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    url, log = f"http://127.0.0.1:{port}", folder.parent / f"{command[0]}.log"
    with log.open("w") as out:
        child = subprocess.Popen([sys.executable, "-m", *command, "--no-browser", f"--port={port}"], cwd=folder,
                                 env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        wait_for(url + ready, child, log)
        yield url
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def wait_for(url: str, child: subprocess.Popen, log: Path):
    "Until the server answers"
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and child.poll() is None:
        try:
            return urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"no answer from {url}:\n{log.read_text()[-2000:]}")


class Notebook:
    "An open page with a kernel behind it"

    def __init__(self, page, path: Path):
        self.page, self.path, self.errors = page, path, []
        page.set_default_timeout(1000 * SECONDS / 3)
        page.on("pageerror", lambda e: self.errors.append(str(e)))
        page.on("dialog", lambda d: (self.errors.append(f"a dialog: {d.message}"), d.dismiss()))

    @property
    def widget(self):
        return self.page.locator(".dt-widget .dt-w").first

    def ask(self, expression: str):
        "The value of an expression in the kernel"
        return json.loads(ast.literal_eval(self.page.evaluate(ASK, f"__import__('json').dumps({expression})")))

    def until(self, expression: str, value, seconds: float = 15):
        "Wait until an expression has a value: messages take their time"
        end = time.monotonic() + seconds
        while (now := self.ask(expression)) != value and time.monotonic() < end:
            time.sleep(0.05)
        assert now == value, f"{expression} is {now!r}"

    def said(self, text: str):
        "Wait until the status line holds a text"
        self.widget.locator("[role=status]", has_text=text).wait_for()

    def run_all(self):
        self.page.evaluate("() => window.command('notebook:run-all-cells')")
        self.widget.wait_for()

    def restart(self):
        "Restart the kernel; nothing is run again"
        self.page.evaluate("() => window.kernel().restart()")
        self.page.evaluate(KERNEL)

    def save(self) -> dict:
        "Save the notebook; what then stands in the file"
        self.page.evaluate("() => window.command('docmanager:save')")
        return json.loads(self.path.read_text(encoding="utf-8"))

    def theme(self, name: str):
        "Such as JupyterLab Dark"
        self.page.evaluate("name => window.command('apputils:change-theme', { theme: name })", name)
        self.page.locator(f'body[data-jp-theme-name="{name}"]').wait_for(state="attached")

    def fits(self, *sizes: dict):
        "Nothing in a widget is wider than its place"
        for size in sizes or (LAPTOP, PHONE):
            self.page.set_viewport_size(size)
            self.page.wait_for_timeout(150)
            wide = self.page.evaluate(WIDE)
            assert not wide, (size, wide)

    def legible(self):
        "Every text of every widget has a contrast of 4.5 to 1 or more, by the colours that the page computed"
        for _ in range(100):
            faint = self.page.evaluate(FAINT)
            if faint != ["no text was found"]:
                break
            self.page.wait_for_timeout(100)         # the page is about to draw the cell anew, as after a change of size
        assert not faint, faint

    def harmless(self):
        "Nothing of the hostile rows ran, or became part of the page"
        assert self.page.evaluate(f"({BROKEN_OUT})().length") == 0

    def shot(self, name: str):
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")

    def picture(self, name: str):
        "The widget alone, in full: on a page that is high enough for it; its texts can be read"
        self.legible()
        SHOTS.mkdir(parents=True, exist_ok=True)
        size, box = self.page.viewport_size, self.widget.bounding_box()
        self.page.set_viewport_size({"width": size["width"], "height": int(box["height"]) + 600})
        self.widget.scroll_into_view_if_needed()
        self.widget.screenshot(path=SHOTS / f"{name}.png")
        self.page.set_viewport_size(size)

    def both_pictures(self, name: str):
        "Fits at every size, can be read on a phone and a laptop, dark and light; stays on the laptop in the light"
        self.fits()
        self.picture(f"{name}-phone")
        self.theme("JupyterLab Dark")
        self.legible()
        self.page.set_viewport_size(LAPTOP)
        self.picture(f"{name}-dark")
        self.theme("JupyterLab Light")              # the server keeps a theme for the next test
        self.picture(name)


class Site:
    "A server and a browser; `open` gives a page of its own"

    def __init__(self, url: str, browser, folder: Path):
        self.url, self.browser, self.folder, self.opened = url, browser, folder, []

    def write(self, name: str, cells: tuple) -> Path:
        code = [dict(cell_type="code", id=f"c{i}", metadata={}, execution_count=None, outputs=[],
                     source=text.splitlines(keepends=True)) for i, text in enumerate(cells)]
        kernel = dict(kernelspec=dict(display_name="Python 3", language="python", name="python3"))
        path = self.folder / f"{name}.ipynb"
        path.write_text(json.dumps(dict(cells=code, metadata=kernel, nbformat=4, nbformat_minor=5)), encoding="utf-8")
        return path

    def page(self, path: Path, size: dict) -> Notebook:
        nb = Notebook(self.browser.new_context(viewport=size, color_scheme="light").new_page(), path)
        self.opened.append(nb)
        return nb

    def close(self):
        "Close all pages; whatever a page complained of is an error"
        errors = [e for nb in self.opened for e in nb.errors]
        for nb in self.opened:
            nb.page.context.close()
        self.opened.clear()
        assert not errors, errors


class Lab(Site):
    def open(self, *cells: str, size: dict = LAPTOP, run: bool = True) -> Notebook:
        "A notebook with these code cells, run from top to bottom"
        return self.reopen(self.write(f"nb{time.monotonic_ns()}", cells), size=size, run=run)

    def reopen(self, path: Path, size: dict = LAPTOP, run: bool = False) -> Notebook:
        nb = self.page(path, size)
        nb.page.goto(f"{self.url}/doc/tree/{path.name}?reset")
        nb.page.locator(".jp-Notebook").wait_for()
        nb.page.evaluate(KERNEL)
        if run:
            nb.run_all()
        return nb

    def close(self):
        for nb in self.opened:
            nb.page.evaluate("() => window.jupyterapp.serviceManager.sessions.shutdownAll()")
        super().close()


class Voila(Site):
    def open(self, *cells: str, size: dict = LAPTOP) -> Notebook:
        nb = self.page(self.write(f"app{time.monotonic_ns()}", cells), size)
        nb.page.goto(f"{self.url}/voila/render/{nb.path.name}")
        nb.widget.wait_for()
        return nb


def start_lab(folder: Path):
    return server(["jupyterlab", "--allow-root", "--ip=127.0.0.1", "--IdentityProvider.token=",
                   "--expose-app-in-browser", "--ServerApp.disable_check_xsrf=True",
                   f"--ServerApp.root_dir={folder}", "--LabApp.news_url=None"], folder, "/api")


def start_voila(folder: Path):
    return server(["voila", str(folder), "--Voila.ip=127.0.0.1", "--Voila.root_dir=" + str(folder)], folder, "/")
