"""A run as a model card: Markdown with the front matter of the Hugging Face Hub."""

import re
import shlex
from collections.abc import Sequence

from markupsafe import Markup

from lineage.analysis.pages.rendering import environment
from lineage.analysis.pages.run_files import RunFiles
from lineage.analysis.record import summary
from lineage.text import visible


def model_card(files: RunFiles, classes: Sequence[str], expected: str) -> str:
    """The text of README.md for a finished run."""
    from huggingface_hub import EvalResult, ModelCardData

    results = files.results
    found = [
        EvalResult(
            task_type="image-classification", dataset_type=results["datamodule"], dataset_name=results["datamodule"],
            dataset_split=record.split, metric_type="accuracy", metric_value=float(record.correct.mean()),
        )
        for record in files.records
    ]  # fmt: skip
    data = ModelCardData(
        library_name="timm", pipeline_tag="image-classification", tags=["lineage"], model_name=files.name,
        eval_results=found,
    )  # fmt: skip
    command = Markup(visible(shlex.join(["python", "train.py", *results["overrides"]])))  # of a block of code
    text = (
        environment(_plain)
        .get_template("card.md")
        .render(files=files, results=results, classes=classes, expected=expected, summary=summary, command=command)
    )
    return f"---\n{data.to_yaml()}\n---\n\n{text}"


def _plain(text: str) -> str:
    """With what Markdown would interpret escaped."""
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", text)
