"""Draw what in an image speaks for its class: lineage explain run=NAME images=FOLDER"""

from pathlib import Path

from omegaconf import DictConfig

from lineage.config.checks import checks
from lineage.config.completion import complete
from lineage.config.saved_run import with_run
from lineage.doors import door
from lineage.errors import UserError
from lineage.running.process import loading

MOST = 50  # images in a picture
HEADS = ("image", "speaks for the first class", "speaks for the true class")


@door
def run(cfg: DictConfig) -> None:
    cfg = with_run(cfg)
    checks(cfg)
    cfg = complete(cfg)

    with loading():
        from lineage.analysis import contact_sheet
        from lineage.analysis.contact_sheet import INK, OWN, SOFT, Caption, Cell
        from lineage.asking.trained import Asking

    asking, rows, layer = Asking(cfg), list[list[Cell]](), ""
    for pixels, answer in asking:
        if len(rows) == MOST:
            raise UserError(f"images=: a picture shows at most {MOST}; name fewer.")
        other = [answer.label] if answer.label not in (-1, answer.classes[0]) else []
        seen, layer = asking.trained.seen(pixels, [answer.classes[0], *other])
        lines = [Caption(Path(answer.image).name, SOFT)]
        for number, share in zip(answer.classes, answer.probabilities, strict=True):
            colour = OWN if number == answer.label else INK
            lines.append(Caption(f"{share:.3f}  {asking.names[number]}", colour, share))
        if answer.label >= 0:
            lines.append(Caption(f"true class: {asking.names[answer.label]}", SOFT))
        rows.append([Cell(pixels.permute(1, 2, 0).numpy()), *map(Cell, seen), Cell(None, lines)])
    wide = max(map(len, rows))
    rows = [[*row[:-1], *[Cell(None)] * (wide - len(row)), row[-1]] for row in rows]
    title = f"What {cfg.run or cfg.pretrained} sees, by the maps of {layer}"
    file = Path(f"{cfg.output}.png")
    contact_sheet.write(contact_sheet.sheet(rows, title, heads=HEADS[: wide - 1], per_row=1), file)
    print(file)
