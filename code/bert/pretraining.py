# Written from the book by `make tangle`: book/18-pretraining.md.
"""Pretraining: the two losses, the optimizer's steps, and exact resume."""

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bert.heads import IGNORED, BertForPreTraining, label_loss


# book/18-pretraining.md: Loss where something is asked
def pretraining_losses(
    model: BertForPreTraining, batch: dict[str, Tensor]
) -> tuple[Tensor, Tensor | None]:
    """The loss of the masked words, and that of the next sentence.

    Devlin et al. 2019, section 3.1. Words get logits at the places asked
    for only: elsewhere nothing would be done with them.

    Returns:
        Two numbers with gradients; None for the second when no row of the
        batch is a pair.
    """
    trunk = model.bert(
        batch["input_ids"], batch["attention_mask"], batch["token_type_ids"]
    )
    asked = batch["labels"] != IGNORED  # [batch, seq]
    hidden = trunk.last_hidden_state[asked]  # [asked, hidden]
    # Out of half precision before the softmax.
    logits = model.masked_words(hidden).float()  # [asked, vocab]
    word_loss = label_loss(logits, batch["labels"][asked], "labels")
    answers = batch["next_sentence_label"]  # [batch]
    if (answers == IGNORED).all():
        return word_loss, None
    logits = model.next_sentence(trunk.pooler_output).float()  # [batch, 2]
    return word_loss, label_loss(logits, answers, "next_sentence_label")


# book/18-pretraining.md: How fast
@dataclass(frozen=True)
class Settings:
    """How to train.

    The defaults are BERT's: Devlin et al. 2019, appendix A.2; `eps` and
    `clip` are from Google's code.

    Attributes:
        steps: How many batches.
        rate: The learning rate at its highest.
        warm_up: Steps in which the rate climbs there from 0.
        decay_from: The step from which it falls to 0, in a straight line.
        weight_decay: Not for biases and LayerNorms.
        betas, eps: AdamW's.
        clip: The longest that the gradient may be.
        next_sentence: The weight of that loss beside the words' loss.
        bfloat16: Whether the products run in it, which is slow where the
            processor has no instructions for it.
    """

    steps: int = 1_000_000
    rate: float = 1e-4
    warm_up: int = 10_000
    decay_from: int = 10_000
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-6
    clip: float = 1.0
    next_sentence: float = 1.0
    bfloat16: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.warm_up <= self.decay_from <= self.steps:
            raise ValueError(
                "wanted 0 <= warm_up <= decay_from <= steps, found "
                f"{self.warm_up}, {self.decay_from}, {self.steps}"
            )
        for name in ("rate", "weight_decay", "eps", "clip", "next_sentence"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(
                    f"{name} is {value!r}, wanted a finite number, 0 or more"
                )


def learning_rate(step: int, settings: Settings) -> float:
    """The rate of a step, counted from 0: up, level, and down to 0."""
    up = (step + 1) / max(1, settings.warm_up)
    left = settings.steps - step
    down = left / max(1, settings.steps - settings.decay_from)
    return settings.rate * max(0.0, min(1.0, up, down))


def parameter_groups(
    model: nn.Module, weight_decay: float
) -> list[dict[str, object]]:
    """Split the weights into those that decay and those that do not.

    As in Google's code, biases and LayerNorms do not: all vectors here.
    """
    weights = list(model.parameters())
    return [
        {
            "params": [weight for weight in weights if weight.ndim > 1],
            "weight_decay": weight_decay,
        },
        {
            "params": [weight for weight in weights if weight.ndim == 1],
            "weight_decay": 0.0,
        },
    ]


# book/18-pretraining.md: One step
@dataclass(frozen=True)
class Report:
    """What one step did.

    Attributes:
        word_loss: That of the masked words.
        pair_loss: That of the next sentence, or None.
        rate: The learning rate.
        gradient_length: That of the gradient before clipping.
    """

    word_loss: float
    pair_loss: float | None
    rate: float
    gradient_length: float


class Trainer:
    """A model, its optimizer, and how many steps they have gone.

    Args:
        model: Trained in place.
        settings: How.
    """

    def __init__(self, model: BertForPreTraining, settings: Settings):
        self.model = model.train()
        self.settings = settings
        self.step = 0
        self.optimizer = torch.optim.AdamW(
            parameter_groups(model, settings.weight_decay),
            betas=settings.betas,
            eps=settings.eps,
            fused=True,
        )

    def train(self, batch: dict[str, Tensor]) -> Report:
        """Take one step on one batch.

        Raises:
            FloatingPointError: The loss or the gradient is not a finite
                number: the weights are not changed.
        """
        settings, weights = self.settings, self.model.parameters()
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
            word_loss, pair_loss = pretraining_losses(self.model, batch)
        loss = word_loss
        if pair_loss is not None:
            loss = word_loss + settings.next_sentence * pair_loss
        if not loss.isfinite():
            raise FloatingPointError(f"step {self.step}: the loss is {loss:g}")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        length = nn.utils.clip_grad_norm_(weights, settings.clip)
        if not length.isfinite():
            raise FloatingPointError(
                f"step {self.step}: the gradient's length is {length:g}"
            )
        rate = learning_rate(self.step, settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.step += 1
        return Report(
            word_loss.item(),
            None if pair_loss is None else pair_loss.item(),
            rate,
            length.item(),
        )


# book/18-pretraining.md: Stop and go on
def write_tensors(
    path: str | os.PathLike,
    tensors: dict[str, Tensor],
    notes: dict[str, str],
) -> None:
    """Write a safetensors file whole or not at all.

    The new file is written beside the old one and takes its place last, so
    that a full disk or a lost machine leaves the old one as it was.

    Raises:
        OSError: The file could not be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    try:
        save_file(tensors, beside, metadata=notes)
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except (OSError, SafetensorError) as error:
        beside.unlink(missing_ok=True)
        kept = "; the last good one is kept" if path.is_file() else ""
        raise OSError(f"could not write {path}: {error}{kept}") from error


KEPT_FOR_A_WEIGHT = ("step", "exp_avg", "exp_avg_sq")  # by AdamW


def save_state(trainer: Trainer, path: str | os.PathLike) -> None:
    """Write all that the next step depends on, but for the batches."""
    tensors = {"chance": torch.get_rng_state()}
    moments = trainer.optimizer.state
    for name, weight in trainer.model.named_parameters():
        tensors[f"weight.{name}"] = weight.detach()
        # A weight that no loss has touched yet has no moments.
        for part in KEPT_FOR_A_WEIGHT if weight in moments else ():
            tensors[f"{part}.{name}"] = moments[weight][part]
    write_tensors(
        path,
        tensors,
        {
            "step": str(trainer.step),
            "settings": json.dumps(asdict(trainer.settings)),
            "config": json.dumps(asdict(trainer.model.config)),
        },
    )


def load_state(trainer: Trainer, path: str | os.PathLike) -> None:
    """Go on where `save_state` left off, bit for bit.

    Raises:
        ValueError: The file is damaged, or of another configuration or
            other settings than the trainer's.
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole state: {error}") from None
    wanted = {
        "config": asdict(trainer.model.config),
        "settings": asdict(trainer.settings),
    }
    for name, ours in wanted.items():
        stored = json.loads(notes.get(name, "{}"))
        ours = json.loads(json.dumps(ours))
        if stored != ours:
            raise ValueError(
                f"{path} was saved with another {name}; file and wanted: "
                + differences(stored, ours)
            )
    like = {"chance": torch.get_rng_state()}
    for name, weight in trainer.model.named_parameters():
        like[f"weight.{name}"] = weight
        moments: dict[str, Tensor] = {
            f"{part}.{name}": weight for part in KEPT_FOR_A_WEIGHT
        }
        moments[f"step.{name}"] = torch.zeros(())
        if not moments.keys().isdisjoint(tensors):  # all three, or none
            like |= moments
    found, needed = (
        {name: (list(t.shape), t.dtype) for name, t in some.items()}
        for some in (tensors, like)
    )
    if found != needed:
        raise ValueError(
            f"{path} is not a whole state; file and wanted: "
            + differences(found, needed)
        )
    trainer.step = int(notes["step"])
    torch.set_rng_state(tensors["chance"])
    trainer.optimizer.state.clear()  # a fresh weight has no moments
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            weight.copy_(tensors[f"weight.{name}"])
            if f"step.{name}" in tensors:
                trainer.optimizer.state[weight] = {
                    part: tensors[f"{part}.{name}"]
                    for part in KEPT_FOR_A_WEIGHT
                }


def differences(stored: dict, ours: dict) -> str:
    """Name what differs between two dicts, with both values."""
    return ", ".join(
        f"{key} {stored.get(key)!r} and {ours.get(key)!r}"
        for key in sorted(stored.keys() | ours.keys())
        if stored.get(key) != ours.get(key)
    )


# book/18-pretraining.md: Live
def progress(
    step: int, steps: int, loss: float, places_a_second: float, seconds: float
) -> str:
    """One line that says how far a training is.

    Args:
        step, steps: Done, and in all.
        loss: The latest, smoothed or not.
        places_a_second: The speed; padding counts.
        seconds: What a step takes.
    """
    done = round(20 * step / steps)
    minutes = math.ceil((steps - step) * seconds / 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"[{'#' * done}{'.' * (20 - done)}] {step:,}/{steps:,}  "
        f"loss {loss:.3f}  {places_a_second:,.0f} places/s  "
        f"{hours} h {minutes:02d} min left"
    )
