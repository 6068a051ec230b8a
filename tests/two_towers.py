"""A tiny encoder of images and texts: colours, and their names, in one space.

Texts lie in a cone apart from that of images, as in real models.
"""

import torch
from torch import nn

from dcsh_pg.learning.encoders.architecture import Architecture

DIM, LENGTH = 24, 6
COLOURS = {
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "yellow": (1.0, 1.0, 0.0),
    "cyan": (0.0, 1.0, 1.0),
    "pink": (1.0, 0.0, 1.0),
}
WORDS = ("[PAD]", "[UNK]", *COLOURS)


def tokenizer() -> str:
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers

    made = tokenizers.Tokenizer(
        models.WordLevel({word: id for id, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.enable_truncation(LENGTH)
    made.enable_padding(length=LENGTH)
    return made.to_str()


class Colours(nn.Module):
    """The cosines of random waves over the cube of colours: an image's mean, or the colour of a name."""

    def __init__(self):
        super().__init__()
        random = torch.Generator().manual_seed(7)
        self.register_buffer("waves", 3 * torch.randn(3, DIM, generator=random))
        self.register_buffer("phases", 6 * torch.rand(DIM, generator=random))
        self.register_buffer("gap", 8 * torch.randn(DIM, generator=random))
        self.register_buffer("words", torch.tensor([(0.0, 0.0, 0.0)] * 2 + [*COLOURS.values()]))
        self.register_buffer("known", torch.tensor([0.01] * 2 + [1.0] * len(COLOURS)))

    def forward(self, images):
        return torch.cos(images.mean(dim=(2, 3)) @ self.waves + self.phases)

    def encode_text(self, tokens):
        weights = self.known[tokens][..., None]
        colours = (self.words[tokens] * weights).sum(dim=1) / weights.sum(dim=1)
        return torch.cos(colours @ self.waves + self.phases) + self.gap


TWO_TOWERS = Architecture(
    lambda bands: Colours(),
    dim=DIM,
    input_size=16,
    learned=False,
    default_weights="none",
    tokenizer=tokenizer,
)
