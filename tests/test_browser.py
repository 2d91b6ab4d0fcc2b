"""Widgets in a real JupyterLab and a real Voila, used as a person would use them."""



SIEVE = '''
from dataset_tutor.widgets import Html, Panel, button, show, tag
class Sieve(Panel):
    gives = ("kept",)
    def __init__(self, texts, lang="en"):
        self.texts, self.kept, self.at = list(texts), [], 0
        super().__init__(lang)
    def do_decide(self, value):
        self.kept += [self.at] if value == "keep" else []
        self.at += 1
        return f"{value}: row {self.at} of {len(self.texts)}"
    def do_fail(self, value=None):
        raise KeyError("lable")
    def body(self, live):
        row = tag("p", self.texts[self.at], class_="dt-text")
        buttons = [button("Keep", "decide", "keep", keys="k"), button("Drop", "decide", "drop", keys="d"),
                   button("Fail", "fail")]
        return Html(row + (tag("div", buttons, class_="dt-bar") if live else ""))
w = show(Sieve(["one", "<img src=x onerror='window.ran=1'>", "三", "four", "five", "six"]))
'''


def test_a_widget_hears_clicks_and_keys_and_says_what_they_did(lab):
    nb = lab.open(SIEVE, "w")
    nb.widget.get_by_role("button", name="Keep").click()
    nb.until("w.kept", [0])
    nb.said("keep: row 1 of 6")
    assert nb.page.evaluate("window.ran") is None and "<img src=x" in nb.widget.inner_text()
    nb.page.keyboard.press("d")                 # twice d would delete the cell, were the keys JupyterLab's
    nb.page.keyboard.press("d")
    nb.page.keyboard.press("k")
    nb.until("w.kept", [0, 3])
    assert nb.page.locator(".jp-CodeCell").count() == 2


def test_an_error_is_shown_and_kept(lab):
    nb = lab.open(SIEVE, "w")
    nb.widget.get_by_role("button", name="Fail").click()
    nb.said("Error: 'lable'")
    assert nb.ask("repr(w.error)") == "KeyError('lable')"
    nb.widget.get_by_role("button", name="Keep").click()
    nb.said("keep: row 1 of 6")
    assert nb.ask("w.error") is None
