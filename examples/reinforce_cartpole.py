"""Teaches a network to balance a pole on a cart with REINFORCE, and draws how it learned.

    python examples/reinforce_cartpole.py                  # about half a minute
    LAZYT_DUMP=dump python examples/reinforce_cartpole.py  # all that the compiler did, as files

`print(torch.explain(agent, states))` shows it for one call.

The cart-pole is that of Barto, Sutton and Anderson ("Neuronlike Adaptive Elements That Can Solve
Difficult Learning Control Problems", 1983); the method is that of Williams (1992) with a learned
baseline (Sutton and Barto, "Reinforcement Learning", section 13.4). The picture is cartpole.png.
With another import line, `import torch`, this program runs in PyTorch.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import lazyt as torch

nn, F = torch.nn, torch.nn.functional

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--updates", type=int, default=120)
parser.add_argument("--episodes", type=int, default=8, help="how many an update learns from")
parser.add_argument("--limit", type=int, default=500, help="steps after which an episode ends")
parser.add_argument("--discount", type=float, default=0.99)
parser.add_argument("--output", default="cartpole.png", metavar="FILE")
parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
parser.add_argument("--seed", type=int, default=0)


class CartPoles:
    """Carts on a track, each with a pole on a hinge, pushed left or right 50 times a second.

    A state is (position, velocity, angle, angular velocity); an episode ends when the cart has left
    the track or the pole leans too far.
    """

    GRAVITY, CART, POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
    FARTHEST, STEEPEST = 2.4, np.radians(12)

    def __init__(self, count: int, generator: np.random.Generator) -> None:
        self.states = generator.uniform(-0.05, 0.05, (count, 4)).astype(np.float32)

    def push(self, right: np.ndarray) -> np.ndarray:
        """Pushes carts right (1) or left (0); says which episodes go on."""
        x, velocity, angle, spin = self.states.T
        total, moment = self.CART + self.POLE, self.POLE * self.HALF_LENGTH
        sine, cosine = np.sin(angle), np.cos(angle)
        pushed = (np.where(right, self.FORCE, -self.FORCE) + moment * spin**2 * sine) / total
        turn = (self.GRAVITY * sine - cosine * pushed) / (
            self.HALF_LENGTH * (4 / 3 - self.POLE * cosine**2 / total)
        )
        drive = pushed - moment * turn * cosine / total
        self.states += self.SECONDS * np.stack([velocity, drive, spin, turn], 1)
        return (abs(self.states[:, 0]) < self.FARTHEST) & (abs(self.states[:, 2]) < self.STEEPEST)


class Agent(nn.Module):
    """States (…, 4) to preferences for each push (…, 2) and to the returns it expects (…)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.policy = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 2))
        self.baseline = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.policy(states), self.baseline(states).squeeze(-1)


@torch.no_grad()
def play(agent: Agent, poles: CartPoles, limit: int, device: str) -> tuple[torch.Tensor, ...]:
    """Episodes side by side, by the agent's chances: states (steps, episodes, 4), pushes and
    whether the episode was still going on (steps, episodes)."""
    states, pushes, going = [], [], []
    alive = np.ones(len(poles.states), bool)
    while alive.any() and len(states) < limit:
        states.append(torch.from_numpy(poles.states.copy()).to(device))
        going.append(torch.from_numpy(alive))
        chances = agent.policy(states[-1]).softmax(-1)
        pushes.append(torch.multinomial(chances, 1).squeeze(1))
        alive = alive & poles.push(pushes[-1].cpu().numpy())
    return torch.stack(states), torch.stack(pushes), torch.stack(going).to(device)


def returns(going: torch.Tensor, discount: float) -> torch.Tensor:
    """What is still to come at every step, a reward of 1 for each, (steps, episodes)."""
    rewards = going.float().cpu().numpy()
    for step in reversed(range(len(rewards) - 1)):
        rewards[step] += discount * rewards[step + 1]
    return torch.from_numpy(rewards).to(going.device)


def draw(lengths: list[float], limit: int, file: str) -> None:
    """The return of every episode, and the mean of 50."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    axes.plot(lengths, ".", color="0.75", markersize=4, label="an episode")
    window = min(50, len(lengths))
    smooth = np.convolve(lengths, np.ones(window) / window, mode="valid")
    axes.plot(np.arange(len(smooth)) + window - 1, smooth, color="C0", label=f"mean of {window}")
    axes.axhline(limit, color="0.6", linestyle=":", label="the limit")
    axes.set(xlabel="episode", ylabel="steps", title="How long the pole stays up", ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left")
    figure.savefig(file, dpi=110)
    print(f"picture: {file}")


def main() -> None:
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    generator = np.random.default_rng(options.seed)
    agent = Agent().to(options.device)
    optimizer = torch.optim.Adam(agent.parameters(), lr=1e-2)
    print(agent)
    lengths: list[float] = []
    started = time.perf_counter()
    for update in range(1, options.updates + 1):
        poles = CartPoles(options.episodes, generator)
        states, pushes, going = play(agent, poles, options.limit, options.device)
        lengths += going.sum(0).tolist()

        reached = returns(going, options.discount)
        preferences, expected = agent(states)
        taken = preferences.log_softmax(-1).gather(-1, pushes[..., None]).squeeze(-1)
        better = reached - expected
        advantage = better.detach()[going]
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-6)
        policy_loss = -(taken[going] * advantage).mean()
        baseline_loss = better[going].square().mean()
        optimizer.zero_grad()
        (policy_loss + 0.5 * baseline_loss).backward()
        nn.utils.clip_grad_norm_(agent.parameters(), 1.0)
        optimizer.step()
        if update % 10 == 0:
            last = lengths[-10 * options.episodes :]
            print(
                f"update {update:3d}  mean return {sum(last) / len(last):6.1f}  "
                f"baseline loss {baseline_loss.item():8.2f}",
                flush=True,
            )
    seconds = time.perf_counter() - started
    draw(lengths, options.limit, options.output)
    last = lengths[-50:]
    print(
        f"reached: mean return {sum(last) / len(last):.1f} of the last {len(last)} episodes of "
        f"{len(lengths)}, {sum(lengths):,} steps in {seconds:.1f} s"
    )


if __name__ == "__main__":
    main()
