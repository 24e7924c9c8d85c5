"""The network of NASNet's controller, which chooses one decision after the other, and the loss of its PPO."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Policy(nn.Module):
    """A one-layer LSTM: it reads the option chosen before, and a softmax over its state gives the next decision.

    Every decision has its own softmax, and every option of it its own embedding, as wide as the LSTM; the first input
    is zero. It computes in float64, so that rounding, which differs between processors, does not change what is drawn.

    Args:
        sizes: the number of options of each decision.
        hidden: units of the LSTM.
        init: all weights are uniform in +-init.
    """

    def __init__(self, sizes: Sequence[int], hidden: int, init: float, seed: int) -> None:
        super().__init__()
        self.sizes = sizes
        decisions, most = len(sizes), max(sizes)
        self.lstm = nn.LSTM(hidden, hidden, dtype=torch.float64)
        self.embedding = nn.Parameter(torch.empty(decisions, most, hidden, dtype=torch.float64))
        self.weight = nn.Parameter(torch.empty(decisions, hidden, most, dtype=torch.float64))
        self.bias = nn.Parameter(torch.empty(decisions, 1, most, dtype=torch.float64))
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

    @torch.no_grad()
    def draw(self, uniform: Tensor) -> Tensor:
        """(T, B) choices by the numbers in [0, 1) of each decision, in whose order the options share out [0, 1)."""
        read = torch.zeros(1, uniform.shape[1], self.lstm.hidden_size, dtype=torch.float64)
        state, choices = None, []
        for t, numbers in enumerate(uniform):
            read, state = self.lstm(read, state)
            ends = torch.softmax(read[0] @ self.weight[t] + self.bias[t] + self.mask[t], -1).cumsum(-1)
            choices.append((ends <= numbers[:, None]).sum(-1).clamp(max=self.sizes[t] - 1))
            read = self.embedding[t, choices[-1]][None]
        return torch.stack(choices)


def chosen_only(log_probabilities: Tensor, choices: Tensor) -> Tensor:
    """(T, B, options) and (T, B) -> (T, B): those of the choices."""
    return log_probabilities.gather(-1, choices[..., None])[..., 0]


def ppo_loss(
    log_probabilities: Tensor, choices: Tensor, before: Tensor, advantages: Tensor, clip: float, entropy: float
) -> Tensor:
    """What a step of PPO lowers: minus the clipped gain, minus `entropy` times the entropy.

    Both are sums over the decisions and means over the batch.

    Args:
        log_probabilities: (T, B, options).
        choices: (T, B).
        before: (T, B), log-probabilities of the choices when they were drawn.
        advantages: (B,), rewards above the baseline.
        clip: how far the ratio of a decision's probabilities counts, as 1 +- clip (arXiv 1707.06347, equation 7).
    """
    ratio = torch.exp(chosen_only(log_probabilities, choices) - before)
    gain = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    entropies = -(log_probabilities.exp() * log_probabilities).sum(-1)
    return -(gain + entropy * entropies).sum(0).mean()


class Learner:
    """The policy in training, on one thread: more of them would add numbers in another order.

    Args:
        lr: of Adam.
        clip, entropy: of the loss.
        epochs: steps on each batch.
    """

    def __init__(self, policy: Policy, lr: float, clip: float, entropy: float, epochs: int) -> None:
        self.policy, self.clip, self.entropy, self.epochs = policy, clip, entropy, epochs
        self.optimizer = torch.optim.Adam(policy.parameters(), lr)

    def draw(self, uniform: Sequence[Sequence[float]]) -> list[list[int]]:
        """(B, T) choices by numbers in [0, 1)."""
        with one_thread():
            return self.policy.draw(torch.tensor(uniform, dtype=torch.float64).T).T.tolist()

    def learn(self, choices: Sequence[Sequence[int]], advantages: Sequence[float]) -> None:
        """Train on a batch of (B, T) choices and (B,) advantages."""
        chosen, above = torch.tensor(choices).T, torch.tensor(advantages, dtype=torch.float64)
        before = None
        with one_thread():
            for _ in range(self.epochs):
                found = self.policy(chosen)
                before = chosen_only(found.detach(), chosen) if before is None else before
                self.optimizer.zero_grad()
                ppo_loss(found, chosen, before, above, self.clip, self.entropy).backward()
                self.optimizer.step()


@contextmanager
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
