"""Draw what in an image speaks for its class: lineage explain run=NAME images=FOLDER"""

from pathlib import Path

from omegaconf import DictConfig

from lineage.config.checks import checks
from lineage.config.completion import complete, with_run
from lineage.doors import door
from lineage.errors import UserError
from lineage.running.process import loading

MOST = 50  # images in a picture


@door
def run(cfg: DictConfig) -> None:
    cfg = with_run(cfg)
    checks(cfg)
    cfg = complete(cfg)

    with loading():
        import torch

        from lineage.analysis import answers, explanation_sheet
        from lineage.anatomy.cam import class_activation_maps
        from lineage.asking import Asking

    asking, rows = Asking(cfg), list[explanation_sheet.Explanation]()
    for batch in asking:
        images = [asking.files.index.name(number) for number in batch.numbers]
        found = answers.answers(images, batch.labels, batch.logits.numpy(), cfg.top)
        for pixels, answer in zip(batch.images, found, strict=True):
            if len(rows) == MOST:
                raise UserError(f"images=: a picture shows at most {MOST}; name fewer.")
            other = answer.label not in (-1, answer.classes[0])
            classes = torch.tensor([answer.classes[0], answer.label] if other else answer.classes[:1])
            one = asking.inference.pixels(pixels[None].to(asking.device)).expand(len(classes), -1, -1, -1)
            maps, layer = class_activation_maps(asking.network, one, classes.to(asking.device))
            shown = pixels.expand(3, -1, -1).permute(1, 2, 0).numpy()
            names = [asking.names[number] for number in answer.classes]
            label = asking.names[answer.label] if answer.label >= 0 else None
            pairs = list(zip(names, answer.probabilities, strict=True))
            heat = list(maps.cpu().numpy())
            rows.append(explanation_sheet.Explanation(shown, Path(answer.image).name, pairs, label, heat))
    if not rows:
        raise UserError("None of the images could be read.")
    file = Path(f"{cfg.output}.png")
    explanation_sheet.write(rows, f"What {cfg.run or cfg.pretrained} sees, by the maps of {layer}", file)
    print(file)
