# After public implementations of PPO (Schulman et al., 2017).
import torch, torch.nn as nn, numpy as np
torch.manual_seed(0); np.random.seed(0)
class ActorCritic(nn.Module):
    def __init__(self, s, a, std):
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(s, 32), nn.Tanh(), nn.Linear(32, a), nn.Tanh())
        self.critic = nn.Sequential(nn.Linear(s, 32), nn.Tanh(), nn.Linear(32, 1))
        self.log_std = nn.Parameter(torch.ones(1, a) * std)
        self.apply(lambda m: (nn.init.orthogonal_(m.weight, 2 ** 0.5), nn.init.constant_(m.bias, 0)) if isinstance(m, nn.Linear) else None)
    def dist(self, x):
        mu = self.actor(x); std = self.log_std.exp().expand_as(mu)
        return mu, std
    def log_prob(self, mu, std, a): return (-((a - mu) ** 2) / (2 * std ** 2) - std.log() - 0.9189385).sum(1, keepdim=True)
model = ActorCritic(3, 1, 0.0); optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
def compute_gae(next_value, rewards, masks, values, gamma=0.99, tau=0.95):
    values = values + [next_value]; gae = 0; returns = []
    for step in reversed(range(len(rewards))):
        delta = rewards[step] + gamma * values[step + 1] * masks[step] - values[step]
        gae = delta + gamma * tau * masks[step] * gae
        returns.insert(0, gae + values[step])
    return returns
def ppo_iter(mini, states, actions, log_probs, returns, advantage):
    n = states.size(0)
    for _ in range(n // mini):
        ids = np.random.randint(0, n, mini)
        yield states[ids, :], actions[ids, :], log_probs[ids, :], returns[ids, :], advantage[ids, :]
state = np.random.randn(4, 3)
for frame in range(2):
    log_probs, values, states, actions, rewards, masks = [], [], [], [], [], []
    for _ in range(10):
        s = torch.FloatTensor(state)
        mu, std = model.dist(s); action = torch.normal(mu, std); value = model.critic(s)
        nxt = 0.9 * state + 0.1 * action.detach().cpu().numpy(); reward = -np.abs(nxt).sum(1); done = np.random.rand(4) < 0.1
        log_probs.append(model.log_prob(mu, std, action.detach())); values.append(value); rewards.append(torch.FloatTensor(reward).unsqueeze(1)); masks.append(torch.FloatTensor(1 - done).unsqueeze(1)); states.append(s); actions.append(action.detach())
        state = nxt
    returns = torch.cat(compute_gae(model.critic(torch.FloatTensor(state)), rewards, masks, values)).detach()
    log_probs = torch.cat(log_probs).detach(); values = torch.cat(values).detach(); states = torch.cat(states); actions = torch.cat(actions); advantage = returns - values
    for _ in range(2):
        for st, ac, olp, ret, adv in ppo_iter(10, states, actions, log_probs, returns, advantage):
            mu, std = model.dist(st); value = model.critic(st)
            entropy = (0.5 + 0.9189385 + std.log()).mean(); new_log_probs = model.log_prob(mu, std, ac)
            ratio = (new_log_probs - olp).exp()
            surr1 = ratio * adv; surr2 = torch.clamp(ratio, 1.0 - 0.2, 1.0 + 0.2) * adv
            actor_loss = - torch.min(surr1, surr2).mean(); critic_loss = (ret - value).pow(2).mean()
            loss = 0.5 * critic_loss + actor_loss - 0.001 * entropy
            optimizer.zero_grad(); loss.backward(); nn.utils.clip_grad_norm_(model.parameters(), 0.5); optimizer.step()
    print(frame, loss.item(), actor_loss.item(), critic_loss.item(), model.log_std.data)
