"""The documentation builds without a warning, and its links lead somewhere, here and on GitHub."""

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[1]
HOST = r"([a-z0-9-]+\.)+[a-z]{2,}"
FOLDERS = ("docs", "benchmarks", "models", "notebooks", "examples", "tests")
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for paths in [
        ROOT.glob("*.md"),
        *((ROOT / folder).rglob(kind) for folder in FOLDERS for kind in ("*.md", "*.ipynb")),
    ]
    for path in paths
)


def read_page(path):
    """The text of a page without its code; of a notebook, the text of its cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^(    .*\n)+", "", text, flags=re.MULTILINE)


def find_anchors(path):
    """The anchors that GitHub gives to the headings of a page."""
    anchors = []
    for heading in re.findall(r"^#+ (.+)$", read_page(path), flags=re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        repeated = sum(
            re.fullmatch(rf"{re.escape(slug)}(-\d+)?", other) is not None for other in anchors
        )
        anchors.append(f"{slug}-{repeated}" if repeated else slug)
    return [*anchors, *re.findall(r'<a (?:id|name)="([^"]+)"', path.read_text(encoding="utf-8"))]


def find_broken_links(path, root=ROOT):
    """The links of a page that lead nowhere."""
    text = read_page(path)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(
        r"^\[[^\]]+\]: (\S+)$", text, flags=re.MULTILINE
    )
    for link in links:
        parts = urlsplit(link)
        target = path.parent / parts.path if parts.path else path
        if parts.scheme:
            # There is no network here: an address must be one that can be right
            found = parts.scheme == "https" and re.fullmatch(HOST, parts.netloc)
        else:
            found = target.is_file() and target.resolve().is_relative_to(root)
            found = found and (not parts.fragment or parts.fragment in find_anchors(target))
        if not found:
            yield link


@pytest.mark.parametrize("page", PAGES)
def test_links(page):
    assert list(find_broken_links(ROOT / page)) == []


def test_broken_links_are_found(tmp_path):
    (tmp_path / "other.md").write_text("# One heading: `code`\n\n# Twice\n\n# Twice\n")
    page = tmp_path / "page.md"
    wrong = ["gone.md", "other.md#two", "#here", "http://example.com", "https://example", "."]
    right = ["other.md", "other.md#one-heading-code", "other.md#twice-1", "https://example.com/a#b"]
    page.write_text(
        "\n".join(f"[text]({link})" for link in wrong + right) + "\n```\n[code](x)\n```\n"
    )
    assert list(find_broken_links(page, tmp_path)) == wrong


@pytest.mark.slow
def test_documentation_builds(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "--keep-going", "-j", "2"]
    folders = ["-c", "docs", "-d", tmp_path / "doctrees", ".", tmp_path / "html"]
    built = subprocess.run(
        [*command, *folders], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert built.returncode == 0, built.stderr

    html = tmp_path / "html"
    for page in (html / "docs/README.html", html / "docs/reference/ntm.layers.html"):
        text = page.read_text(encoding="utf-8")
        # Everything that a browser loads lies beside the page
        assert not re.findall(r'(?:src|href)="(https?:[^"]+)"[^>]*(?:stylesheet|</script>)', text)
    assert 'id="ntm.layers.NTMLayer"' in text
    index = (html / "index.html").read_text(encoding="utf-8")
    assert (html / re.search(r"url=([^\"]+)", index)[1]).is_file()
    assert "readhead" in (html / "searchindex.js").read_text(encoding="utf-8")
