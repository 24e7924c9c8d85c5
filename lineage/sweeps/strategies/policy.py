"""The network of NASNet's controller, which chooses one decision after the other, and its steps of PPO."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def one_thread() -> Iterator[None]:
    """More of them would add numbers in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Policy(nn.Module):
    """A one-layer LSTM: it reads the option chosen before, and a softmax over its state gives the next decision.

    Every decision has its own softmax, and every option of it its own embedding, as wide as the LSTM; the first input
    is zero. It computes in float64, so that another processor, which rounds differently, draws the same.

    Args:
        sizes: the number of options of each decision.
        hidden: units of the LSTM.
        init: all weights are uniform in +-init.
    """

    def __init__(self, sizes: Sequence[int], hidden: int, init: float, seed: int) -> None:
        super().__init__()
        self.sizes, most = sizes, max(sizes)
        self.lstm = nn.LSTM(hidden, hidden)
        self.embedding = nn.Parameter(torch.empty(len(sizes), most, hidden))
        self.weight = nn.Parameter(torch.empty(len(sizes), hidden, most))
        self.bias = nn.Parameter(torch.empty(len(sizes), 1, most))
        self.double()
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -init, init, generator)
        exists = torch.arange(most) < torch.tensor(sizes)[:, None]
        self.mask = torch.where(exists, 0.0, -1e9).double()[:, None]  # (T, 1, options): not -inf, whose p log p is nan

    def forward(self, choices: Tensor) -> Tensor:
        """(T, B) choices -> (T, B, options) log-probabilities of each decision after the choices before it."""
        chosen = self.embedding[torch.arange(len(choices))[:, None], choices]
        states, _ = self.lstm(torch.cat([torch.zeros_like(chosen[:1]), chosen[:-1]]))
        return torch.log_softmax(torch.baddbmm(self.bias, states, self.weight) + self.mask, -1)

    @one_thread()
    @torch.no_grad()
    def draw(self, random: Sequence[Sequence[float]]) -> Tensor:
        """(T, B) choices by (B, T) numbers in [0, 1), which the options of a decision share out in their order."""
        numbers = torch.tensor(random, dtype=torch.float64).T
        read = torch.zeros(1, len(random), self.lstm.hidden_size).double()
        state, choices = None, []
        for t, size in enumerate(self.sizes):
            read, state = self.lstm(read, state)
            ends = torch.softmax(read[0] @ self.weight[t] + self.bias[t] + self.mask[t], -1).cumsum(-1)
            choices.append((ends <= numbers[t, :, None]).sum(-1).clamp(max=size - 1))
            read = self.embedding[t, choices[-1]][None]
        return torch.stack(choices)


@one_thread()
def learn(
    policy: Policy, optimizer: torch.optim.Optimizer, choices: Tensor, advantages: Sequence[float],
    epochs: int, clip: float, entropy: float,
) -> None:  # fmt: skip
    """As many steps as `epochs` on a batch of (T, B) choices and (B,) advantages, its rewards above the baseline."""
    before, above = policy(choices).detach(), torch.tensor(advantages, dtype=torch.float64)
    for _ in range(epochs):
        optimizer.zero_grad()
        ppo_loss(policy(choices), before, choices, above, clip, entropy).backward()
        optimizer.step()


def ppo_loss(now: Tensor, before: Tensor, choices: Tensor, advantages: Tensor, clip: float, entropy: float) -> Tensor:
    """Minus PPO's clipped gain (arXiv 1707.06347, equation 7), minus `entropy` times the entropy.

    Both are sums over the decisions and means over the batch; each decision has its own ratio of probabilities.

    Args:
        now, before: (T, B, options) log-probabilities, before: those that the (T, B) choices were drawn by.
        advantages: (B,).
        clip: a ratio counts within 1 +- clip.
    """
    ratio = (now - before).gather(-1, choices[..., None])[..., 0].exp()
    gain = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return -(gain - entropy * (now.exp() * now).sum(-1)).sum(0).mean()
