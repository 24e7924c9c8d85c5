"""Templates filled with what may come from other people's files: it is escaped, and of scripts only our own runs."""

import base64
import hashlib
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lineage.analysis.pages.run_files import RunFiles
from lineage.analysis.record import summary
from lineage.text import duration, visible


def render(template: str, **values: Any) -> str:
    """The text of a page."""
    pages = _environment()
    script, style = (Markup(pages.get_template(name).render()) for name in ("page.js", "page.css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return pages.get_template(template).render(script=script, style=style, digest=digest, **values)


def model_card(files: RunFiles, classes: Sequence[str], expected: str) -> str:
    """The text of README.md for a finished run: Markdown with the front matter of the Hugging Face Hub."""
    command = Markup(visible(shlex.join(["python", "train.py", *files.results["overrides"]])))  # of a block of code
    card = _environment(lambda text: re.sub(r"([\\`*_\[\]|~])", r"\\\1", text)).get_template("card.md")  # Markdown's
    return card.render(
        files=files, results=files.results, classes=classes, expected=expected, summary=summary, command=command
    )


def _environment(escape: Callable[[str], str] = str) -> Environment:
    """The templates. What is put into them becomes visible letters, by `escape`, and cannot become HTML."""

    def shown(value: Any) -> Any:
        return escape(visible(value)) if type(value) is str else value

    found = Environment(
        loader=PackageLoader("lineage.analysis.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=shown,
    )  # fmt: skip
    found.filters |= {"number": _number, "percent": lambda value: f"{100 * value:.1f}\u202f%"}
    found.filters["duration"] = lambda seconds: "?" if seconds is None else duration(seconds)
    found.globals["zip"] = zip
    return found


def _number(value: float | None) -> str:
    """With three digits, or the whole part: 0.0123, 1.23, 1,234."""
    if value is None:
        return "?"
    return f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.3g}"
