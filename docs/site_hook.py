"""A hook of mkdocs: the pages that live elsewhere in the repository are pages of the site too, and
links between all of them hold in both places."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
# repository path -> path on the site
ELSEWHERE = {
    "README.md": "index.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "ARCHITECTURE.md": "ARCHITECTURE.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "LICENSE": "LICENSE.txt",
    "p2l_model/EXPERIMENTS.md": "EXPERIMENTS.md",
}
_LINK = re.compile(r"(\]\()([^)#\s:]+)(#[^)\s]*)?(\))")


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages from elsewhere, and the files that any page links to."""
    for path, place in ELSEWHERE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    known = {file.src_uri for file in files}
    for file in list(files.documentation_pages()):
        text = Path(file.abs_src_path).read_text(encoding="utf-8")
        for match in _LINK.finditer(text):
            path = _in_repository(file.src_uri, match[2])
            place = _on_site(path)
            if place not in known and (ROOT / path).is_file():
                known.add(place)
                files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links are to files of the repository; on the site some of these have another place."""
    here = page.file.src_uri

    def moved(match: re.Match[str]) -> str:
        place = _on_site(_in_repository(here, match[2]))
        relative = posixpath.relpath(place, posixpath.dirname(here) or ".")
        return f"{match[1]}{relative}{match[3] or ''}{match[4]}"

    return _LINK.sub(moved, markdown)


def _in_repository(src_uri: str, link: str) -> str:
    source = {place: path for path, place in ELSEWHERE.items()}.get(src_uri, f"docs/{src_uri}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))


def _on_site(path: str) -> str:
    if path in ELSEWHERE:
        return ELSEWHERE[path]
    return path.removeprefix("docs/")
