"""Random batches of sequences of unequal lengths, for the tests of the losses."""

import torch


class Batch:
    """Log-probs, old log-probs, weights and mask (B, T), advantages (B,); float64, reproducible by seed."""

    def __init__(self, seed: int, sequences: int = 8, tokens: int = 9) -> None:
        generator = torch.Generator().manual_seed(seed)
        shape = (sequences, tokens)
        self.logp = torch.rand(shape, generator=generator, dtype=torch.float64) * -3 - 1e-3
        self.old = self.logp + 0.4 * torch.randn(shape, generator=generator, dtype=torch.float64)
        self.weights = torch.rand(shape, generator=generator, dtype=torch.float64)
        self.advantages = torch.randn(sequences, generator=generator, dtype=torch.float64)
        lengths = torch.randint(1, tokens + 1, (sequences, 1), generator=generator)
        lengths[0], lengths[1] = 1, tokens
        self.mask = torch.arange(tokens) < lengths
        self.count = int(self.mask.sum())
