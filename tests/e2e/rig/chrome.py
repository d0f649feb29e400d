"""Headless Chromium by its driver's plain HTTP (W3C WebDriver): no Selenium.

    with Chrome(folder) as c:
        c.open(url); c.run("return document.title"); c.screenshot(path, dark=True)
        c.console(), c.requests()
"""
import base64
import json
import urllib.error
import urllib.request

from .proc import Process, free_port, wait_for

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage"]


class Chrome:
    def __init__(self, folder, size=(1280, 1500)):
        self.dir, self.port, self.session = folder, free_port(), None
        self.driver = Process(["chromedriver", f"--port={self.port}"], folder / "driver.log",
                              env={"HOME": str(folder), "TMPDIR": str(folder)})
        wait_for(self.ready, 30, self.driver.tail)
        options = {"args": [*FLAGS, f"--user-data-dir={folder / 'profile'}",
                            f"--window-size={size[0]},{size[1]}"]}
        made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}})
        self.session = made["sessionId"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            if self.session:
                self.call("DELETE", f"/session/{self.session}")
        finally:
            self.driver.stop()

    def ready(self):
        self.driver.check()
        try:
            return self.call("GET", "/status")["ready"]
        except OSError:
            return False

    def call(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        req = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method,
                                     headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(req, timeout=60) as r:
                return json.loads(r.read())["value"]
        except urllib.error.HTTPError as e:
            raise RuntimeError(f"{method} {path}: {e.read().decode()[:800]}") from e

    def ask(self, path, body):
        return self.call("POST", f"/session/{self.session}{path}", body)

    def open(self, url):
        self.ask("/url", {"url": url})

    def run(self, script):
        """The value that a piece of the page's own language returns."""
        return self.ask("/execute/sync", {"script": script, "args": []})

    def devtools(self, command, **params):
        return self.ask("/goog/cdp/execute", {"cmd": command, "params": params})

    def dark(self, on):
        self.devtools("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if on else "light"}])

    def screenshot(self, path, dark=None):
        if dark is not None:
            self.dark(dark)
        png = self.call("GET", f"/session/{self.session}/screenshot")
        path.write_bytes(base64.b64decode(png))

    def log(self, kind):
        return self.ask("/se/log", {"type": kind})

    def console(self):
        """What the page complained of since it was last asked."""
        return [x["message"] for x in self.log("browser") if x["level"] in ("SEVERE", "WARNING")]

    def requests(self):
        """Addresses that were asked since it was last asked."""
        seen = [json.loads(x["message"])["message"] for x in self.log("performance")]
        return [x["params"]["request"]["url"] for x in seen
                if x["method"] == "Network.requestWillBeSent"]
