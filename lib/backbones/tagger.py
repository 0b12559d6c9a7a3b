"""A tagger: class logits for every token of a sentence (Rodrigues & Pereira, AAAI 2018, network of the NER experiment).

Embedding, a convolution over neighboring words, dropout, a gated recurrent unit, and a linear layer at every token. The
input is a padded table of indices, the output has a row for each *token*: padding never gets as far as a loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lib.backbones import Backbone, register

if TYPE_CHECKING:
    from lib.datasets import CrowdDataset

PADDING = 0  # as a word's index: there is no token here
CHUNK = 128  # sentences that are padded to one length


class _TokenFeatures(nn.Module):
    """``[sentences, length, columns]`` indices to ``[sentences, length, hidden]``."""

    def __init__(
        self, tables: list[nn.Embedding], channels: int, width: int, dropout: float, hidden: int, embedding_dropout: float
    ) -> None:
        super().__init__()
        self.tables = nn.ModuleList(tables)
        inputs = sum(table.embedding_dim for table in tables)
        self.dropout = nn.Dropout(embedding_dropout)
        self.convolution = nn.Conv1d(inputs, channels, width, padding=width // 2)
        self.activation = nn.Sequential(nn.ReLU(), nn.Dropout(dropout))
        self.recurrent = nn.GRU(channels, hidden, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        embedded = torch.cat([table(x[:, :, column]) for column, table in enumerate(self.tables)], dim=2)
        convolved = self.convolution(self.dropout(embedded).transpose(1, 2)).transpose(1, 2)
        return self.recurrent(self.activation(convolved))[0]


class Tagger(Backbone):
    """Features and logits of tokens, sentence after sentence.

    ``forward`` takes ``[sentences, length, columns]`` int64; column 0 is the word, and a row of zeros is padding, which
    only comes after a sentence. It gives ``[tokens, n_classes]``.
    """

    def features(self, x: Tensor) -> Tensor:
        """``[tokens, n_features]``. Sentences of similar length are padded together, so a long one costs only its like."""
        real = x[:, :, 0] != PADDING
        lengths = real.sum(dim=1)
        if len(x) <= CHUNK:
            longest = int(lengths.max())
            return self.trunk(x[:, :longest])[real[:, :longest]]
        order = torch.argsort(lengths, descending=True)
        pieces = [self.features(x[part]) for part in order.split(CHUNK)]
        token = torch.arange(int(lengths.sum()), device=x.device)
        first = lengths.cumsum(0) - lengths
        lengths_now = lengths[order]
        begin = lengths_now.cumsum(0) - lengths_now
        place = (token - begin.repeat_interleave(lengths_now)) + first[order].repeat_interleave(lengths_now)
        return torch.empty_like(torch.cat(pieces)).index_copy(0, place, torch.cat(pieces))

    def prepare(self, data: CrowdDataset) -> None:
        """Take over the pretrained vectors of the data set, where it has any."""


@register("tagger")
def tagger(
    x_shape: tuple[int, ...],
    n_classes: int,
    words: int = 8192,
    dimension: int = 64,
    spellings: int = 4096,
    spelling_dimension: int = 16,
    channels: int = 128,
    width: int = 5,
    dropout: float = 0.5,
    hidden: int = 50,
    embedding_dropout: float = 0.0,
) -> Tagger:
    columns = x_shape[1]
    tables = [nn.Embedding(words, dimension, padding_idx=PADDING)]
    tables += [nn.Embedding(spellings, spelling_dimension, padding_idx=PADDING) for _ in range(columns - 1)]
    return Tagger(_TokenFeatures(tables, channels, width, dropout, hidden, embedding_dropout), hidden, n_classes)
