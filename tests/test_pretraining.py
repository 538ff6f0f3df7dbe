"""The training loop: losses, rates, decay, and exact resume."""

import copy
import math
import random
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open

import bert.pretraining
from bert.pretraining import (
    Report,
    Settings,
    Trainer,
    learning_rate,
    load_state,
    parameter_groups,
    pretraining_losses,
    progress,
    save_state,
    write_tensors,
)
from bert.pretraining_data import Example, Masking, make_batch
from tests.test_pretraining_data import PIECES, tiny_model

SETTINGS = Settings(steps=20, rate=1e-2, warm_up=3, decay_from=8)


def batch_of(step):
    """A batch that depends on the step alone; some hold no pair."""
    chance = random.Random(step)

    def ids():
        return [chance.choice(PIECES.ordinary) for _ in range(7)]

    examples = [
        Example(ids(), ids(), chance.randint(0, 1))
        if step % 3
        else Example(ids(), [], -100)
        for _ in range(5)
    ]
    return make_batch(examples, PIECES, Masking(0.3), chance)


def train_to(step, trainer):
    while trainer.step < step:
        trainer.train(batch_of(trainer.step))
    return trainer


def weights(trainer):
    return torch.cat([p.flatten() for p in trainer.model.parameters()])


def test_loss_at_asked_places_equals_the_models_own_loss():
    model, batch = tiny_model(), batch_of(1)
    batch["next_sentence_label"][2] = -100  # one row of five is no pair
    words, pairs = pretraining_losses(model, batch)
    torch.testing.assert_close(words + pairs, model(**batch).loss)


def test_a_batch_without_pairs_has_no_second_loss():
    assert pretraining_losses(tiny_model(), batch_of(0))[1] is None


def test_losses_of_a_model_in_half_precision_are_float32():
    losses = pretraining_losses(tiny_model().bfloat16(), batch_of(1))
    assert [loss.dtype for loss in losses] == [torch.float32] * 2


def test_defaults_are_those_of_the_paper():
    """Devlin et al. 2019, appendix A.2; `eps` and `clip`: Google's code."""
    assert Settings() == Settings(
        steps=1_000_000, rate=1e-4, warm_up=10_000, decay_from=10_000,
        weight_decay=0.01, betas=(0.9, 0.999), eps=1e-6, clip=1.0,
        next_sentence=1.0, bfloat16=False,
    )  # fmt: skip


@pytest.mark.parametrize("bfloat16", [False, True])
def test_two_steps_equal_a_loop_written_out(bfloat16):
    settings = Settings(
        steps=9, rate=3e-2, warm_up=3, decay_from=8, weight_decay=0.4,
        betas=(0.6, 0.7), eps=1e-2, clip=0.5, next_sentence=0.3,
        bfloat16=bfloat16,
    )  # fmt: skip
    trainer, model = Trainer(tiny_model(), settings), tiny_model().train()
    named = list(model.named_parameters())
    free = [p for n, p in named if "norm" in n or n.endswith("bias")]
    rest = [p for n, p in named if not any(p is other for other in free)]
    groups = [
        {"params": rest, "weight_decay": 0.4},
        {"params": free, "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, betas=(0.6, 0.7), eps=1e-2, fused=True)
    for step, rate in ((1, 1e-2), (2, 2e-2)):  # two batches with pairs
        batch = batch_of(step)
        torch.manual_seed(step)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            trunk = model.bert(*list(batch.values())[:3])
            asked = batch["labels"] != -100
            words = model.masked_words(trunk.last_hidden_state[asked])
            pairs = model.next_sentence(trunk.pooler_output)
        words = F.cross_entropy(words.float(), batch["labels"][asked])
        pairs = F.cross_entropy(pairs.float(), batch["next_sentence_label"])
        adam.zero_grad()
        (words + 0.3 * pairs).backward()
        length = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        for group in adam.param_groups:
            group["lr"] = rate
        adam.step()
        torch.manual_seed(step)
        assert trainer.train(batch) == Report(
            words.item(), pairs.item(), pytest.approx(rate), length.item()
        )
        torch.testing.assert_close(
            list(trainer.model.parameters()), list(model.parameters()),
            rtol=0, atol=1e-7,
        )  # fmt: skip


def test_rate_climbs_stays_and_falls_to_nothing():
    rates = [learning_rate(step, SETTINGS) for step in range(21)]
    assert rates[:3] == pytest.approx([1e-2 / 3, 2e-2 / 3, 1e-2])
    assert rates[3:9] == [1e-2] * 6
    assert rates[14] == pytest.approx(0.5e-2) and rates[20] == 0.0


def test_stages_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="found 9, 8, 20"):
        replace(SETTINGS, warm_up=9)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, "1e-4", None])
@pytest.mark.parametrize(
    "name", ["rate", "weight_decay", "eps", "clip", "next_sentence"]
)
def test_settings_that_would_spoil_the_weights_are_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name} is .*wanted a finite nu"):
        replace(SETTINGS, **{name: value})


def test_biases_and_norms_do_not_decay():
    model = tiny_model()
    decaying, free = parameter_groups(model, 0.25)
    assert decaying["weight_decay"] == 0.25 and free["weight_decay"] == 0.0
    names = {id(p): name for name, p in model.named_parameters()}
    for weight in free["params"]:
        name = names[id(weight)]
        assert name.endswith("bias") or "norm" in name
    for weight in decaying["params"]:
        assert names[id(weight)].endswith("weight")
    assert len(decaying["params"]) + len(free["params"]) == len(names)


def test_training_lowers_the_loss_of_one_batch():
    trainer = Trainer(tiny_model(), SETTINGS)
    losses = [trainer.train(batch_of(1)).word_loss for _ in range(20)]
    assert losses[-1] < losses[0] - 0.5


def test_the_gradient_is_clipped():
    trainer = Trainer(tiny_model(), replace(SETTINGS, clip=1e-3))
    report = trainer.train(batch_of(1))
    left = torch.stack(
        [p.grad.norm() for p in trainer.model.parameters()]
    ).norm()
    assert report.gradient_length > 0.1 and left <= 1.001e-3


def test_a_loss_that_is_no_number_stops_before_the_weights_change():
    trainer = Trainer(tiny_model(), SETTINGS)
    with torch.no_grad():
        trainer.model.masked_words.decoder.bias[3] = float("inf")
    before = weights(trainer)
    with pytest.raises(FloatingPointError, match="step 0: the loss is"):
        trainer.train(batch_of(0))
    assert torch.equal(weights(trainer), before) and trainer.step == 0


def test_an_infinite_gradient_stops_before_the_weights_change():
    trainer = Trainer(tiny_model(), SETTINGS)
    before = weights(trainer)
    bias = trainer.model.masked_words.decoder.bias
    handle = bias.register_hook(lambda slopes: slopes * 0 + float("inf"))
    with pytest.raises(
        FloatingPointError, match="step 0: the gradient's length is inf"
    ):
        trainer.train(batch_of(1))
    assert torch.equal(weights(trainer), before) and trainer.step == 0
    handle.remove()
    trainer.train(batch_of(1))
    assert trainer.step == 1 and weights(trainer).isfinite().all()


@pytest.mark.parametrize("bfloat16", [False, True])
def test_resume_is_exact_to_the_last_bit(tmp_path, bfloat16):
    """With dropout, and with batches in which the pair head has no loss."""
    settings = replace(SETTINGS, bfloat16=bfloat16)

    def fresh():
        return Trainer(tiny_model(), settings)

    torch.manual_seed(1)
    uncut = train_to(9, fresh())
    torch.manual_seed(1)
    path = tmp_path / "run.state"
    save_state(train_to(4, fresh()), str(path))
    torch.manual_seed(77)  # another chance, restored by the state
    resumed = fresh()
    load_state(resumed, path)
    assert resumed.step == 4
    assert torch.equal(weights(train_to(9, resumed)), weights(uncut))


def test_dropout_is_on_in_training():
    """Else the test above would not see a forgotten random state."""
    trainer = Trainer(tiny_model(), SETTINGS)
    first, second = (
        pretraining_losses(trainer.model, batch_of(1))[0] for _ in range(2)
    )
    assert trainer.model.training and first != second


def test_a_state_before_the_first_step_can_be_loaded(tmp_path):
    path = tmp_path / "run.state"
    save_state(Trainer(tiny_model(), SETTINGS), path)
    trainer = Trainer(tiny_model(), SETTINGS)
    load_state(trainer, path)
    assert trainer.step == 0


def test_a_state_leaves_nothing_of_what_the_trainer_was(tmp_path):
    path = tmp_path / "run.state"
    save_state(Trainer(tiny_model(), SETTINGS), path)
    used = train_to(2, Trainer(tiny_model(), SETTINGS))
    load_state(used, path)
    uncut = Trainer(tiny_model(), SETTINGS)
    torch.manual_seed(3)
    train_to(2, used)
    torch.manual_seed(3)
    train_to(2, uncut)
    assert torch.equal(weights(used), weights(uncut))


def test_a_state_of_other_settings_is_refused(tmp_path):
    path = tmp_path / "run.state"
    save_state(Trainer(tiny_model(), SETTINGS), path)
    other = Trainer(tiny_model(), replace(SETTINGS, rate=3e-2))
    with pytest.raises(ValueError, match="settings; .* rate 0.01 and 0.03"):
        load_state(other, path)


def test_a_state_of_another_configuration_is_refused(tmp_path):
    path = tmp_path / "run.state"
    save_state(Trainer(tiny_model(), SETTINGS), path)
    model = tiny_model()
    model.config = replace(model.config, hidden_dropout_prob=0.3)
    with pytest.raises(ValueError, match="hidden_dropout_prob 0.1 and 0.3"):
        load_state(Trainer(model, SETTINGS), path)


def test_a_torn_state_is_refused(tmp_path):
    path = tmp_path / "run.state"
    save_state(Trainer(tiny_model(), SETTINGS), path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="not a whole state"):
        load_state(Trainer(tiny_model(), SETTINGS), path)


NORM = "bert.embedding_norm.bias"


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda t: t.pop(f"weight.{NORM}"), r"weight.* None and \(\[15\], "),
        (lambda t: t.pop(f"exp_avg.{NORM}"), r"exp_avg\.bert.* None and"),
        (lambda t: t.pop("chance"), "chance None and"),
        (
            lambda t: t.update({f"exp_avg_sq.{NORM}": torch.ones(14)}),
            r"\(\[14\], torch.float32\) and \(\[15\], torch.float32\)",
        ),
    ],
)
def test_a_refused_state_leaves_the_trainer_as_it_was(
    tmp_path, damage, message
):
    path = tmp_path / "run.state"
    save_state(train_to(3, Trainer(tiny_model(), SETTINGS)), path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        notes = file.metadata()
    damage(tensors)
    write_tensors(path, tensors, notes)
    trainer = train_to(2, Trainer(tiny_model(), SETTINGS))
    before = weights(trainer), torch.get_rng_state()
    moments = copy.deepcopy(trainer.optimizer.state_dict())
    with pytest.raises(ValueError, match=f"not a whole state; .*{message}"):
        load_state(trainer, path)
    assert trainer.step == 2 and torch.equal(weights(trainer), before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    torch.testing.assert_close(
        trainer.optimizer.state_dict(), moments, rtol=0, atol=0
    )


def test_a_full_disk_keeps_the_last_good_state(tmp_path, monkeypatch):
    path = tmp_path / "run.state"
    trainer = Trainer(tiny_model(), SETTINGS)
    save_state(trainer, path)
    good = path.read_bytes()

    def full(tensors, file, metadata):
        file.write_bytes(b"half of it")
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(bert.pretraining, "save_file", full)
    with pytest.raises(OSError, match="No space left .* good one is kept"):
        save_state(train_to(2, trainer), path)
    assert path.read_bytes() == good
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "new" / "weights"
    write_tensors(path, {"a": torch.arange(3)}, {"note": "x"})
    assert [p.name for p in path.parent.iterdir()] == ["weights"]


def test_progress_names_loss_speed_and_time_left():
    line = progress(500, 2000, 4.5678, 1234.5, 2.0)
    assert line.startswith("[#####...............] 500/2,000  loss 4.568")
    assert "1,234 places/s" in line and line.endswith("0 h 50 min left")


def test_the_time_left_is_rounded_up():
    assert progress(0, 1, 4.5, 9.0, 61.0).endswith("0 h 02 min left")
    assert progress(0, 2, 4.5, 9.0, 1801.0).endswith("1 h 01 min left")
    assert progress(2, 2, 4.5, 9.0, 1801.0).endswith("0 h 00 min left")
