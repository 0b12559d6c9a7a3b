"""A tagger: class logits for every token of a sentence (the NER network of Rodrigues & Pereira, AAAI 2018).

Embedding, a convolution over neighboring words, dropout, a gated recurrent unit, and a linear layer at every token. The
input is a padded table of indices, the output has a row for each *token*: padding ends here, no loss ever sees it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lib.crowd.tag_sequences import PADDING
from lib.networks import Backbone, register

CHUNK = 128  # sentences that are padded to one length


class _Trunk(nn.Module):
    """``[sentences, length, columns]`` indices to ``[sentences, length, hidden]``."""

    def __init__(self, tables: Sequence[nn.Embedding], channels: int, width: int, dropout: float, hidden: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(tables)
        inputs = sum(table.embedding_dim for table in tables)
        self.convolution = nn.Conv1d(inputs, channels, width, padding=width // 2)
        self.after = nn.Sequential(nn.ReLU(), nn.Dropout(dropout))
        self.recurrent = nn.GRU(channels, hidden, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        # Padding is embedded as zeros, which is what the convolution sees beyond the ends of a sentence anyway.
        embedded = torch.cat([table(x[:, :, column]) for column, table in enumerate(self.tables)], dim=2)
        convolved = self.convolution(embedded.transpose(1, 2)).transpose(1, 2)
        return self.recurrent(self.after(convolved))[0]


class Tagger(Backbone):
    """Features and logits of tokens, sentence after sentence.

    ``forward`` takes ``[sentences, length, columns]`` int64 and gives ``[tokens, n_classes]``. Column 0 is the word; a row
    of zeros is padding, which only comes after a sentence.
    """

    def features(self, x: Tensor) -> Tensor:
        """``[tokens, n_features]``. Many sentences are computed in parts of similar length, so that the length of one
        does not pad all."""
        real = x[:, :, 0] != PADDING
        lengths = real.sum(dim=1)
        if len(x) <= CHUNK:
            longest = int(lengths.max())
            return self.trunk(x[:, :longest])[real[:, :longest]]
        order = torch.argsort(lengths, descending=True)
        found = torch.cat([self.features(x[part]) for part in order.split(CHUNK)])
        first = (lengths.cumsum(0) - lengths)[order]  # where each sentence belongs
        lengths = lengths[order]
        shift = first - (lengths.cumsum(0) - lengths)
        place = torch.arange(len(found), device=x.device) + shift.repeat_interleave(lengths)
        return torch.empty_like(found).index_copy(0, place, found)

    def prepare(self, data: Any) -> None:
        """Raises ValueError where the data have an index beyond a table."""
        for column, table in enumerate(self.trunk.tables):
            needed = 1 + max(int(x[:, :, column].max()) for x in (data.x, data.x_test, data.x_valid) if x is not None)
            if needed > table.num_embeddings:
                name = "spellings" if column else "words"
                raise ValueError(f"{data.name} needs a tagger with {name}={needed} or more, found {table.num_embeddings}")


@register("tagger")
def tagger(
    x_shape: tuple[int, ...],
    n_classes: int,
    words: int = 4096,
    dimension: int = 64,
    spellings: int = 8,
    spelling_dimension: int = 16,
    channels: int = 128,
    width: int = 5,
    dropout: float = 0.5,
    hidden: int = 50,
) -> Tagger:
    """The tagger, by default smaller than the paper's, which has ``dimension=300`` and ``channels=512``.

    Args:
        words, dimension: size of the table of words, and of a word's vector.
        spellings, spelling_dimension: the same for each further column of the input.
        channels, width: of the convolution; an odd width.
        dropout: share of the convolution's outputs dropped in training.
        hidden: units of the recurrent layer.

    Raises:
        ValueError: an input of another kind, or an even width.
    """
    if len(x_shape) != 2:
        raise ValueError(f"a tagger reads sentences of the shape (length, columns), found inputs of shape {tuple(x_shape)}")
    if width % 2 == 0:
        raise ValueError(f"width must be odd, so that a token has as many neighbors on both sides, found {width}")
    sizes = [(words, dimension)] + [(spellings, spelling_dimension)] * (x_shape[1] - 1)
    tables = [nn.Embedding(*size, padding_idx=PADDING) for size in sizes]
    return Tagger(_Trunk(tables, channels, width, dropout, hidden), hidden, n_classes)
