"""A metadata hook, which hatchling calls during a build: it sets the parts of a release's metadata
that depend on environment variables.

``REPOSITORY=https://github.com/ann/pies make release`` fills ``project.urls``, and makes the
README's links absolute, because an index shows the README without the other files. Without the
variable, links to files become plain text, and pictures are left out.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

# Matches a relative link to another file. The first group is "!" for a picture, otherwise empty.
RELATIVE = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s]+)\)")


def readme_of(text: str, repository: str) -> str:
    """Return the README in the form that an index can show."""

    def absolute(link: re.Match[str]) -> str:
        is_picture, label, path = link.groups()
        if repository:
            kind = "raw" if is_picture else "blob"
            return f"{is_picture}[{label}]({repository}/{kind}/HEAD/{path})"
        return "" if is_picture else label

    return RELATIVE.sub(absolute, text).replace("```http\n", "```text\n")


def urls_of(repository: str) -> dict[str, str]:
    """Return the URLs that an index lists beside the README."""
    if not repository:
        return {}
    return {
        "Homepage": repository,
        "Documentation": f"{repository}/blob/HEAD/docs/index.md",
        "Changelog": f"{repository}/blob/HEAD/CHANGELOG.md",
        "Issues": f"{repository}/issues",
        "Source": repository,
    }


class PublishedMetadata(MetadataHookInterface):
    """The fields ``readme`` and ``urls``, which pyproject.toml declares as dynamic."""

    def update(self, metadata: dict[str, object]) -> None:
        """Add the two fields."""
        repository = os.environ.get("REPOSITORY", "").rstrip("/")
        text = Path(self.root, "README.md").read_text("utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": readme_of(text, repository),
        }
        metadata["urls"] = urls_of(repository)
