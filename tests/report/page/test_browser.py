"""Reports in a headless Chromium: nothing is said on its console, nothing is cut."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tandem_hw.export.net_file import write_net
from tandem_hw.sim.registry import BACKENDS
from tests.helpers.command_line import run as run_command
from tests.helpers.command_line import succeed
from tests.helpers.networks import random_inputs, small_network
from tests.helpers.step_backends import Shortened

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]
#: Opens a report in a frame of some width, and tells what sticks out of it, or out of its picture.
LOOK = """<!doctype html><body style="margin:0"><iframe id="frame" style="border:0;height:900px"
></iframe><pre id="told"></pre><script>
const frame = document.getElementById("frame");
frame.style.width = WIDTH + "px";
frame.onload = () => {
  const page = frame.contentDocument, faults = [];
  const root = page.documentElement;
  if (root.scrollWidth > root.clientWidth) faults.push("the page is wider than the window");
  const inside = (element, box) => {
    const at = element.getBoundingClientRect();
    return at.left >= box.left - 1 && at.right <= box.right + 1
      && at.top >= box.top - 1 && at.bottom <= box.bottom + 1;
  };
  for (const element of page.querySelectorAll("h1, h2, p, li, dd, dt, figure, .scroll, footer")) {
    const at = element.getBoundingClientRect();
    if (at.right > root.clientWidth + 1 || at.left < -1) faults.push("cut: " + element.outerHTML);
  }
  let texts = 0;
  for (const picture of page.querySelectorAll("svg")) {
    const box = picture.getBoundingClientRect();
    for (const text of picture.querySelectorAll("text")) {
      texts += 1;
      if (!inside(text, box)) faults.push("out of its picture: " + text.textContent);
      if (parseFloat(page.defaultView.getComputedStyle(text).fontSize) * box.width /
          picture.viewBox.baseVal.width < 8) faults.push("too small: " + text.textContent);
    }
  }
  const dark = page.defaultView.matchMedia("(prefers-color-scheme: dark)").matches;
  const ground = page.defaultView.getComputedStyle(page.body).backgroundColor;
  document.getElementById("told").textContent = JSON.stringify({faults, texts, dark, ground});
};
frame.src = "PAGE";
</script></body>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a report of every command that needs no board."""
    folder = tmp_path_factory.mktemp("reports")
    network = small_network()
    write_net(network, folder / "a.net")
    images = (random_inputs(network, 24) / network.input.largest).astype(np.float32)
    labels = np.arange(24) % 3
    data = folder / "a.npz"
    np.savez(data, x_train=images, y_train=labels, x_test=images, y_test=labels)
    given = [folder / "a.net", "--data", f"npz:{data}"]
    succeed("inspect", given[0], "--chip", "--report", folder / "inspect.html")
    succeed("simulate", *given, "--report", folder / "simulate.html")
    with pytest.MonkeyPatch.context() as patch:
        wrong = Shortened(wrong_from=2, layer="hidden", count=-1)
        patch.setitem(BACKENDS, "c", lambda: wrong)
        compared = ["--backends", "reference,c"]
        result = run_command("verify", *given, *compared, "--report", folder / "verify.html")
        assert result.exit_code == 1, result.output
    line = ["--model", "mlp", "--num-steps", "4", "--epochs", "3", "--batch-size", "20"]
    run = folder / "run"
    succeed("train", f"npz:{data}", *line, "--out", run, "--report", folder / "train.html")
    succeed("report", run, "--out", folder / "report.html")
    return folder


def opened(page: Path, *options: str) -> tuple[str, str]:
    """Open a page, and return the document as it is then and what was said about it."""
    assert CHROMIUM is not None
    program = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    told = subprocess.run(
        [*program, *options, "--virtual-time-budget=5000", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return told.stdout, told.stderr


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
@pytest.mark.parametrize("name", ["inspect", "simulate", "verify", "train", "report"])
def test_nothing_is_cut_and_the_console_is_silent(
    folder: Path, name: str, width: int, dark: bool
) -> None:
    look = folder / f"look-{name}-{width}.html"
    look.write_text(LOOK.replace("WIDTH", str(width)).replace("PAGE", f"{name}.html"))
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    document, said = opened(look, scheme, "--allow-file-access-from-files")
    (text,) = re.findall(r'<pre id="told">(.*?)</pre>', document, re.DOTALL)
    told = json.loads(text)
    assert told["faults"] == []
    assert told["texts"] > 10
    assert told["dark"] == dark
    assert told["ground"] == ("rgb(22, 24, 28)" if dark else "rgb(255, 255, 255)")
    assert "CONSOLE" not in said


def test_the_look_finds_what_is_cut_and_what_the_console_says(folder: Path) -> None:
    (folder / "bad.html").write_text(
        '<!doctype html><body><p style="width:2000px">wide</p>'
        '<svg width="50" height="9" viewBox="0 0 50 9"><text x="40" y="5">sticks out</text></svg>'
        "<script>console.error('said')</script></body>"
    )
    look = folder / "look-bad.html"
    look.write_text(LOOK.replace("WIDTH", "390").replace("PAGE", "bad.html"))
    document, said = opened(look, "--allow-file-access-from-files")
    assert "the page is wider than the window" in document
    assert "out of its picture: sticks out" in document
    assert "CONSOLE" in said
