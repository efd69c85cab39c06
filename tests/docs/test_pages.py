"""What stands in the pages without a gateway: links, manifests, quoted files, the form of code."""

import re, subprocess

import pytest

from pages import PAGES, ROOT, anchors, fences, links, prose

FENCES = [fence for page in PAGES for fence in fences(page)]
WRAP = "apiVersion: headgate.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {name: docs}\n"


def of(*languages):
    return pytest.mark.parametrize("fence", [it for it in FENCES if it.language in languages], ids=str)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target}: no such file"
        assert not anchor or anchor in anchors(file), f"{target}: no such heading; there are: {sorted(anchors(file))}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_of_the_repository_that_are_named_are_there(page):
    for path in re.findall(r"`((?:examples|tests|docs|gateway|crds)/[\w./-]+)`", prose(page)):
        assert (ROOT / path).exists(), f"{path}: no such file"


@of("yaml")
def test_manifests_are_accepted(fence, binary):
    text = fence.text
    if text.startswith("spec:"):
        text = WRAP + text + ("" if re.search(r"^  auth:", text, re.M) else "  auth: {mode: Disabled}\n")
    kind = re.search(r"^kind: (\w+)$", text, re.M)
    assert kind, f"{fence}: neither a manifest nor a part of spec"
    if kind[1] == "RealtimeGateway":
        checked = subprocess.run([binary, "check", "-"], input=text, capture_output=True, text=True, timeout=10)
        assert checked.returncode == 0, f"{fence}: {checked.stdout}{checked.stderr}"


@pytest.mark.parametrize("fence", [it for it in FENCES if any(word.startswith("file=") for word in it.words)], ids=str)
def test_quoted_files_are_quoted_whole(fence):
    path = next(word for word in fence.words if word.startswith("file=")).removeprefix("file=")

    assert fence.text == (ROOT / path).read_text(), f"{fence} is not {path}"


@of("js")
def test_scripts_can_be_read(fence, tmp_path):
    script = tmp_path / "script.mjs"
    script.write_text(fence.text)
    checked = subprocess.run(["node", "--check", str(script)], capture_output=True, text=True, timeout=30)

    assert checked.returncode == 0, f"{fence}: {checked.stderr}"
