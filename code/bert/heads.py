# Written from the book by `make tangle`: book/13-masked-words.md,
#   book/14-next-sentence.md.
"""What stands on the trunk: masked words, and the next sentence."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bert.config import BertConfig
from bert.feed_forward import ACTIVATIONS
from bert.layer_norm import LayerNorm
from bert.linear import Linear
from bert.model import BertModel, PretrainedBert


# book/13-masked-words.md: The package's head
class MaskedWordHead(nn.Module):
    """From a token's vector to one logit for each word of the vocabulary.

    Devlin et al. 2019, section 3.1, task 1. The decoder's weight is the
    word embeddings themselves, unless the configuration unties them.
    """

    def __init__(self, config: BertConfig):
        super().__init__()
        hidden = config.hidden_size
        self.dense = Linear(hidden, hidden)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.norm = LayerNorm(hidden, config.layer_norm_eps)
        self.decoder = Linear(hidden, config.vocab_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """`[..., hidden]` -> `[..., vocab]`."""
        transformed = self.activation(self.dense(hidden))  # [..., hidden]
        return self.decoder(self.norm(transformed))  # [..., vocab]


class BertWithHeads(PretrainedBert):
    """A trunk with the masked-word head on it, and its tied decoder."""

    bert: BertModel
    masked_words: MaskedWordHead

    @property
    def tied(self) -> bool:
        """Whether decoder and word embeddings are one tensor."""
        return self.config.tie_word_embeddings

    def tie_weights(self) -> None:
        """Make the decoder's weight the word embeddings themselves."""
        if self.tied:
            self.masked_words.decoder.weight = self.bert.embeddings.word.weight


IGNORED = -100  # a label that asks for no prediction


def label_loss(logits: Tensor, labels: Tensor, name: str) -> Tensor:
    """Average cross-entropy over the labels that are not -100.

    Args:
        logits: `[..., classes]` float.
        labels: `[...]` int64.
        name: What to call the labels in an error.

    Raises:
        TypeError: `labels` is no tensor.
        ValueError: The shapes or types do not fit, a label is no class, or
            all are -100.
    """
    if not isinstance(labels, Tensor):
        raise TypeError(f"{name}: found {labels!r:.40}, wanted a tensor")
    if labels.dtype != torch.int64:
        raise ValueError(f"{name} holds {labels.dtype}, wanted torch.int64")
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"{name} has the shape {list(labels.shape)}, "
            f"wanted {list(logits.shape[:-1])}"
        )
    asked = labels[labels != IGNORED]
    if asked.numel() == 0:
        raise ValueError(f"{name} holds nothing but {IGNORED}: no loss")
    classes = logits.shape[-1]
    if int(asked.min()) < 0 or int(asked.max()) >= classes:
        raise ValueError(
            f"{name} holds {int(asked.min())} to {int(asked.max())}, "
            f"wanted {IGNORED} or 0 to {classes - 1}"
        )
    return F.cross_entropy(
        logits.reshape(-1, classes), labels.reshape(-1), ignore_index=IGNORED
    )


@dataclass
class MaskedLMOutput:
    """What `BertForMaskedLM` gives back.

    Attributes:
        logits: `[batch, seq, vocab]`.
        loss: A number, if labels were given.
        hidden_states, attentions: As in `BertModelOutput`.
    """

    logits: Tensor
    loss: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class BertForMaskedLM(BertWithHeads):
    """BERT that guesses masked words (Devlin et al. 2019, section 3.1)."""

    def build(self, config: BertConfig) -> None:
        """The trunk without its pooler, and the masked-word head."""
        self.bert = BertModel(config, initialize=False)
        self.bert.pooler = None
        self.masked_words = MaskedWordHead(config)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        *,  # in transformers the positions stand here
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> MaskedLMOutput:
        """Give every position its logits.

        Args:
            labels: `[batch, seq]` int64, the right id where the loss is asked
                for, -100 elsewhere. The others are those of `BertModel`.
        """
        trunk = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            output_hidden_states,
            output_attentions,
        )
        logits = self.masked_words(trunk.last_hidden_state)
        loss = None
        if labels is not None:
            loss = label_loss(logits, labels, "labels")
        return MaskedLMOutput(
            logits, loss, trunk.hidden_states, trunk.attentions
        )


# book/14-next-sentence.md: The package's class
@dataclass
class PreTrainingOutput:
    """What `BertForPreTraining` gives back.

    Attributes:
        prediction_logits: `[batch, seq, vocab]`.
        seq_relationship_logits: `[batch, 2]`; class 0 says that the second
            segment follows the first, class 1 that it does not.
        loss: The sum of both losses, if both labels were given.
        hidden_states, attentions: As in `BertModelOutput`.
    """

    prediction_logits: Tensor
    seq_relationship_logits: Tensor
    loss: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class BertForPreTraining(BertWithHeads):
    """BERT with both heads that it was trained with.

    Devlin et al. 2019, section 3.1, tasks 1 and 2.
    """

    def build(self, config: BertConfig) -> None:
        """The trunk with its pooler, and both heads."""
        self.bert = BertModel(config, initialize=False)
        self.masked_words = MaskedWordHead(config)
        self.next_sentence = Linear(config.hidden_size, 2)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> PreTrainingOutput:
        """Give every position its logits, and every pair its two.

        Args:
            labels: As in `BertForMaskedLM`.
            next_sentence_label: `[batch]` int64, 0, 1 or -100.
        """
        trunk = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            output_hidden_states,
            output_attentions,
        )
        words = self.masked_words(trunk.last_hidden_state)
        pairs = self.next_sentence(trunk.pooler_output)  # [batch, 2]
        loss = None
        if labels is not None and next_sentence_label is not None:
            loss = label_loss(words, labels, "labels") + label_loss(
                pairs, next_sentence_label, "next_sentence_label"
            )
        return PreTrainingOutput(
            words, pairs, loss, trunk.hidden_states, trunk.attentions
        )
