# Written from the book by `make tangle`: book/11-all-the-layers.md.
"""The trunk: from ids to one vector for each token."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bert.checkpoint import load_weights, save_weights
from bert.config import BertConfig
from bert.embeddings import Embedding, Embeddings
from bert.encoder import Layer
from bert.inputs import added_mask, check_inputs
from bert.layer_norm import LayerNorm
from bert.linear import Linear


# book/11-all-the-layers.md: As modules
@dataclass
class BertModelOutput:
    """What the trunk gives back.

    Attributes:
        last_hidden_state: `[batch, seq, hidden]`.
        pooler_output: `[batch, hidden]`, or None without a pooler.
        hidden_states: The normed embeddings and each layer's output,
            layers + 1 tensors `[batch, seq, hidden]`; None unless asked.
        attentions: Each layer's weights `[batch, heads, seq, seq]`;
            None unless asked.
    """

    last_hidden_state: Tensor
    pooler_output: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class PretrainedBert(nn.Module):
    """What all models share: a configuration, and a way in and out of files.

    Args:
        config: The sizes.
        initialize: False leaves the weights unset, for one who is about to
            set them all.
    """

    def __init__(self, config: BertConfig, initialize: bool = True):
        super().__init__()
        self.config = config
        self.unused_tensors: list[str] = []
        self.build(config)
        self.tie_weights()
        if initialize:
            initialize_weights(self, config.initializer_range)

    @property
    def tied(self) -> bool:
        """Whether decoder and word embeddings are one tensor.

        A trunk has no decoder; a model with one asks its configuration.
        """
        return True

    def build(self, config: BertConfig) -> None:
        """Make the modules; each model says which."""
        raise NotImplementedError

    def tie_weights(self) -> None:
        """Let weights that are one tensor be one; a trunk alone has none."""

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike) -> Self:
        """Open a checkpoint: a folder, or a name on the Hugging Face hub.

        Returns:
            The model in eval mode, float32. `unused_tensors` names what the
            file holds beyond what this model uses.
        """
        config = BertConfig.from_pretrained(name)
        model = cls(config, initialize=False)
        model.unused_tensors = load_weights(model, name)
        return model.eval()

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write config.json and model.safetensors, as transformers reads."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.config.save_pretrained(folder)
        save_weights(self, folder)


@torch.no_grad()
def initialize_weights(model: nn.Module, deviation: float) -> None:
    """Set every weight as BERT's training began, but for two differences.

    Matrices are drawn from a normal distribution of mean 0, biases are 0,
    LayerNorm scales are 1. Google's code cuts the normal distribution at two
    deviations, and draws the row of [PAD] too; transformers and this function
    cut nothing, and leave that row 0.
    """
    for module in model.modules():
        if isinstance(module, LayerNorm):
            module.weight.fill_(1.0)
            module.bias.zero_()
        elif isinstance(module, Linear):
            module.weight.normal_(0.0, deviation)
            module.bias.zero_()
        elif isinstance(module, Embedding):
            module.weight.normal_(0.0, deviation)
    # Last, since a tied decoder draws the word embeddings once more.
    for module in model.modules():
        if isinstance(module, Embedding) and module.padding_row is not None:
            module.weight[module.padding_row].zero_()


class BertModel(PretrainedBert):
    """BERT without a head (Devlin et al. 2019, section 3)."""

    def build(self, config: BertConfig) -> None:
        """Embeddings, their norm, the layers, and the pooler's projection."""
        hidden, eps = config.hidden_size, config.layer_norm_eps
        self.embeddings = Embeddings(config)
        self.embedding_norm = LayerNorm(hidden, eps)
        count = config.num_hidden_layers
        self.layers = nn.ModuleList(Layer(config) for _ in range(count))
        self.pooler: Linear | None = Linear(hidden, hidden)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> BertModelOutput:
        """Run the trunk.

        Args:
            input_ids: `[batch, seq]` int64 or int32.
            attention_mask: `[batch, seq]`, 1 at real tokens, 0 at padding.
            token_type_ids: `[batch, seq]` int64 or int32, the segment of
                each token; None means all 0.
            output_hidden_states: Whether to return every layer's output.
            output_attentions: Whether to return every layer's weights.

        Raises:
            TypeError: An input is no tensor.
            ValueError: A shape, a type or an id does not fit.
        """
        check_inputs(self.config, input_ids, attention_mask, token_type_ids)
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        hidden = self.embeddings(input_ids, token_type_ids)
        hidden = self.embedding_norm(hidden)  # [batch, seq, hidden]
        hidden = F.dropout(
            hidden, self.config.hidden_dropout_prob, self.training
        )
        mask = None
        if attention_mask is not None:
            mask = added_mask(attention_mask, hidden.dtype)
        last, states, weights = self.run_layers(
            hidden, mask, output_hidden_states, output_attentions
        )
        pooled = None
        if self.pooler is not None:
            # The first token, [CLS], speaks for the whole sequence.
            pooled = torch.tanh(self.pooler(last[:, 0]))
        return BertModelOutput(
            last_hidden_state=last,
            pooler_output=pooled,
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(weights) if output_attentions else None,
        )

    def run_layers(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        keep_states: bool = False,
        keep_weights: bool = False,
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """What leaves the last layer; and if kept, all states and weights.

        The states are what goes into the first layer and what leaves each.
        """
        states, kept = [hidden], []
        for layer in self.layers:
            hidden, weights = layer(hidden, mask, keep_weights)
            if keep_states:
                states.append(hidden)
            if weights is not None:
                kept.append(weights)
        return hidden, states, kept
