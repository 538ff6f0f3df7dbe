# Written from the book by `make tangle`: book/15-the-package.md.
"""BERT, one operation at a time: the package that the book writes."""

from bert.config import BertConfig
from bert.engine import optimize
from bert.fast_tokenizer import BertTokenizerFast
from bert.fill_mask import fill_mask
from bert.heads import BertForMaskedLM, BertForPreTraining
from bert.model import BertModel
from bert.tokenizer import BertTokenizer

# book/15-the-package.md: The modules
__all__ = [
    "BertConfig",
    "BertForMaskedLM",
    "BertForPreTraining",
    "BertModel",
    "BertTokenizer",
    "BertTokenizerFast",
    "fill_mask",
    "optimize",
]
