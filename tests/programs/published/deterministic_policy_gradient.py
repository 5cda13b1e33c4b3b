# After "Continuous control with deep reinforcement learning" (Lillicrap et al., 2015): actor and
# critic with slowly following copies, learning from a replay buffer to swing up a pendulum.
import collections
import math
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

torch.manual_seed(7)
random.seed(7)
rng = np.random.RandomState(7)
GAMMA, TAU, BATCH = 0.99, 0.05, 16


class Pendulum:
    def reset(self):
        self.angle, self.speed = rng.uniform([-math.pi, -1], [math.pi, 1])
        return self.seen()

    def seen(self):
        return np.array([math.cos(self.angle), math.sin(self.angle), self.speed], np.float32)

    def step(self, push):
        push = float(np.clip(push, -2, 2))
        turned = (self.angle + math.pi) % (2 * math.pi) - math.pi
        cost = turned**2 + 0.1 * self.speed**2 + 0.001 * push**2
        self.speed += (15 * math.sin(self.angle) + 3 * push) * 0.05
        self.speed = float(np.clip(self.speed, -8, 8))
        self.angle += self.speed * 0.05
        return self.seen(), -cost


class Replay:
    def __init__(self):
        self.buffer = collections.deque(maxlen=500)

    def put(self, transition):
        self.buffer.append(transition)

    def sample(self, n):
        states, actions, rewards, followers = [], [], [], []
        for s, a, r, s2 in random.sample(self.buffer, n):
            states.append(s)
            actions.append([a])
            rewards.append([r])
            followers.append(s2)
        kind = torch.float
        return (
            torch.tensor(np.array(states), dtype=kind),
            torch.tensor(actions, dtype=kind),
            torch.tensor(rewards, dtype=kind),
            torch.tensor(np.array(followers), dtype=kind),
        )


class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.out = nn.Linear(3, 32), nn.Linear(32, 16), nn.Linear(16, 1)

    def forward(self, x):
        x = F.relu(self.fc2(F.relu(self.fc1(x))))
        return torch.tanh(self.out(x)) * 2


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.state, self.action = nn.Linear(3, 16), nn.Linear(1, 16)
        self.joint, self.out = nn.Linear(32, 16), nn.Linear(16, 1)

    def forward(self, x, a):
        both = torch.cat([F.relu(self.state(x)), F.relu(self.action(a))], dim=1)
        return self.out(F.relu(self.joint(both)))


class Noise:
    def __init__(self):
        self.last = 0.0

    def __call__(self):
        self.last += 0.1 * (0 - self.last) * 0.05 + 0.3 * math.sqrt(0.05) * rng.normal()
        return self.last


actor, actor_target, critic, critic_target = Actor(), Actor(), Critic(), Critic()
actor_target.load_state_dict(actor.state_dict())
critic_target.load_state_dict(critic.state_dict())
actor_step = optim.Adam(actor.parameters(), lr=0.0005)
critic_step = optim.Adam(critic.parameters(), lr=0.001)


def learn(memory):
    s, a, r, s2 = memory.sample(BATCH)
    target = r + GAMMA * critic_target(s2, actor_target(s2)) * 1.0
    critic_loss = F.smooth_l1_loss(critic(s, a), target.detach())
    critic_step.zero_grad()
    critic_loss.backward()
    critic_step.step()
    actor_loss = -critic(s, actor(s)).mean()
    actor_step.zero_grad()
    actor_loss.backward()
    actor_step.step()
    for net, follower in ((actor, actor_target), (critic, critic_target)):
        for p, q in zip(net.parameters(), follower.parameters()):
            q.data.copy_(q.data * (1.0 - TAU) + p.data * TAU)
    return critic_loss.item(), actor_loss.item()


env, memory, noise = Pendulum(), Replay(), Noise()
for episode in range(4):
    s, score = env.reset(), 0.0
    for _ in range(30):
        a = actor(torch.from_numpy(s).float())
        a = a.item() + noise()
        s2, r = env.step(a)
        memory.put((s, a, r / 10.0, s2))
        score += r
        s = s2
    losses = [learn(memory) for _ in range(5)]
    print("episode %d, score %.2f, critic %.5f, actor %.5f" % (episode, score, *losses[-1]))
print(["%.4f" % p.detach().abs().sum() for p in critic_target.parameters()])
