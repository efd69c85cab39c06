"""The commands of the pages are run, page by page and in order, and show what the pages say.

A block ```sh run is run by one bash, a block ```python run by Python, and a block with save=NAME is written
to NAME first. A block ```text or ```json after one that is run is what it prints, where ... stands for
anything. Pages that say so go on from docs/start.md.
"""

import contextlib, os, re, signal, socket, subprocess, sys

import pytest

from pages import PAGES, ROOT, fences

MARK = "#docs-block#"
START = ROOT / "docs/start.md"


def steps(page):
    """The script of a page, and what each block has to print."""
    before = [it for it in fences(START) if "start" in it.words] if "go on from [start](start.md)" in page.read_text() else []
    script, expected, is_after_run = ["set -euo pipefail"], [], False
    for fence in [*before, *fences(page)]:
        save = next((word.removeprefix("save=") for word in fence.words if word.startswith("save=")), None)
        if save:
            script.append(f"cat > {save} <<'DOCS'\n{fence.text}DOCS")
        is_run = "run" in fence.words
        if is_run:
            script.append(f"echo; echo '{MARK} {fence.page.name}:{fence.line}'")
            script.append(fence.text if fence.language == "sh" else f"python3 - <<'DOCS'\n{fence.text}DOCS")
            expected.append((f"{fence.page.name}:{fence.line}", None))
        elif fence.language in ("text", "json") and is_after_run:
            expected[-1] = (expected[-1][0], fence.text)
        is_after_run = is_run
    return "\n".join(script), expected


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return str(it.getsockname()[1])


@pytest.mark.parametrize("page", [page for page in PAGES if any("run" in it.words for it in fences(page))], ids=lambda it: it.name)
def test_commands_do_what_the_page_says(page, binary, tmp_path):
    script, expected = steps(page)
    ports = {port: free_port() for port in ("8080", "9090", "8443", "9443")}
    script = re.sub(r"(?<=:)(8080|9090|8443|9443)\b", lambda port: ports[port[0]], script)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    # The binary under test, and this Python with its packages.
    path = [os.path.dirname(os.path.abspath(it)) for it in (binary, sys.executable)]
    environment = {**os.environ, "PATH": ":".join([*path, os.environ["PATH"]])}
    output = tmp_path / "output"
    with output.open("w") as file:
        bash = subprocess.Popen(["bash", "-c", script], cwd=tmp_path, env=environment, stdout=file, stderr=file, start_new_session=True)
        try:
            code = bash.wait(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(bash.pid, signal.SIGKILL)  # and the gateway that it left behind
    printed = output.read_text()
    assert code == 0, f"exit code {code}:\n{printed}"
    blocks = re.split(rf"\n{MARK} (\S+)\n", printed)[1:]
    found = dict(zip(blocks[::2], blocks[1::2]))
    for line, text in expected:
        pattern = re.escape((text or "").strip()).replace(r"\.\.\.", ".*?")
        assert text is None or re.fullmatch(pattern, found[line].strip(), re.S), f"{line} prints:\n{found[line]}"
