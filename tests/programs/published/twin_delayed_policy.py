# After the code of Fujimoto, van Hoof and Meger (2018) for TD3; the world is a linear system.
import copy
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
np.random.seed(0)
torch.manual_seed(0)
class World:
    def __init__(self):
        r = np.random.RandomState(7)
        self.A, self.B = np.eye(4) + 0.1 * r.randn(4, 4), 0.3 * r.randn(4, 2)
    def reset(self):
        self.s, self.t = np.random.uniform(-0.5, 0.5, 4), 0
        return self.s.astype(np.float32)
    def step(self, a):
        self.s = np.clip(self.A @ self.s + self.B @ np.clip(a, -1, 1), -3, 3)
        self.t += 1
        return self.s.astype(np.float32), float(1 - (self.s ** 2).mean()), self.t >= 25
class Actor(nn.Module):
    def __init__(self, state_dim, action_dim, max_action):
        super(Actor, self).__init__()
        self.l1, self.l2 = nn.Linear(state_dim, 24), nn.Linear(24, action_dim)
        self.max_action = max_action
    def forward(self, state):
        return self.max_action * torch.tanh(self.l2(F.relu(self.l1(state))))
class Critic(nn.Module):
    def __init__(self, state_dim, action_dim):
        super(Critic, self).__init__()
        self.l1, self.l2 = nn.Linear(state_dim + action_dim, 24), nn.Linear(24, 1)
        self.l3, self.l4 = nn.Linear(state_dim + action_dim, 24), nn.Linear(24, 1)
    def forward(self, state, action):
        sa = torch.cat([state, action], 1)
        return self.l2(F.relu(self.l1(sa))), self.l4(F.relu(self.l3(sa)))
    def Q1(self, state, action):
        return self.l2(F.relu(self.l1(torch.cat([state, action], 1))))
class ReplayBuffer(object):
    def __init__(self, state_dim, action_dim, max_size=1000):
        self.max_size, self.ptr, self.size = max_size, 0, 0
        self.parts = [np.zeros((max_size, k)) for k in (state_dim, action_dim, state_dim, 1, 1)]
    def add(self, *values):
        for part, value in zip(self.parts, values):
            part[self.ptr] = value
        self.ptr = (self.ptr + 1) % self.max_size
        self.size = min(self.size + 1, self.max_size)
    def sample(self, batch_size):
        ind = np.random.randint(0, self.size, size=batch_size)
        return tuple(torch.FloatTensor(part[ind]).to(device) for part in self.parts)
class TD3(object):
    def __init__(self):
        self.actor = Actor(4, 2, 1.0).to(device)
        self.actor_target = copy.deepcopy(self.actor)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=3e-3)
        self.critic = Critic(4, 2).to(device)
        self.critic_target = copy.deepcopy(self.critic)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=3e-3)
        self.total_it = 0
    def select_action(self, state):
        state = torch.FloatTensor(state.reshape(1, -1)).to(device)
        return self.actor(state).cpu().data.numpy().flatten()
    def train(self, buffer, batch_size=32, discount=0.95, tau=0.02):
        self.total_it += 1
        state, action, next_state, reward, not_done = buffer.sample(batch_size)
        with torch.no_grad():
            noise = (torch.randn_like(action) * 0.2).clamp(-0.5, 0.5)
            next_action = (self.actor_target(next_state) + noise).clamp(-1, 1)
            target = reward + not_done * discount * torch.min(*self.critic_target(next_state, next_action))
        current_Q1, current_Q2 = self.critic(state, action)
        critic_loss = F.mse_loss(current_Q1, target) + F.mse_loss(current_Q2, target)
        self.critic_optimizer.zero_grad()
        critic_loss.backward()
        self.critic_optimizer.step()
        if self.total_it % 2 == 0:
            actor_loss = -self.critic.Q1(state, self.actor(state)).mean()
            self.actor_optimizer.zero_grad()
            actor_loss.backward()
            self.actor_optimizer.step()
            for net, slow in ((self.critic, self.critic_target), (self.actor, self.actor_target)):
                for param, target_param in zip(net.parameters(), slow.parameters()):
                    target_param.data.copy_(tau * param.data + (1 - tau) * target_param.data)
        return critic_loss.item()
env, policy, buffer = World(), TD3(), ReplayBuffer(4, 2)
state, total, episode, loss = env.reset(), 0.0, 0, None
for t in range(250):
    if t < 50:
        action = np.random.uniform(-1, 1, 2)
    else:
        action = (policy.select_action(np.array(state)) + np.random.normal(0, 0.1, size=2)).clip(-1, 1)
    next_state, reward, done = env.step(action)
    buffer.add(state, action, next_state, reward, 1.0 - float(done))
    state, total = next_state, total + reward
    if t >= 50:
        loss = policy.train(buffer)
    if done:
        print(f"Total T: {t + 1} Episode Num: {episode + 1} Reward: {total:.2f}", None if loss is None else round(loss, 3))
        state, total, episode = env.reset(), 0.0, episode + 1
