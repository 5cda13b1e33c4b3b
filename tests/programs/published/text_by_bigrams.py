# After the lectures of Karpathy on language models: rows cut at places that a tensor gives, text that grows.
import torch
import torch.nn as nn
from torch.nn import functional as F
torch.manual_seed(1337)
batch_size, block_size, steps = 16, 8, 120
device = 'cuda' if torch.cuda.is_available() else 'cpu'
text = "the cat sat on the mat and the rat sat on the cat while the mat lay flat on that old hat. " * 12
chars = sorted(set(text))
stoi = {c: i for i, c in enumerate(chars)}
encode = lambda s: [stoi[c] for c in s]
decode = lambda codes: ''.join(chars[i] for i in codes)
data = torch.tensor(encode(text), dtype=torch.long)
n = int(0.9 * len(data))
parts = {'train': data[:n], 'val': data[n:]}
def get_batch(split):
    part = parts[split]
    places = torch.randint(len(part) - block_size, (batch_size,))
    x = torch.stack([part[i:i + block_size] for i in places])
    y = torch.stack([part[i + 1:i + block_size + 1] for i in places])
    return x.to(device), y.to(device)
@torch.no_grad()
def estimate():
    model.eval()
    means = {}
    for split in parts:
        losses = torch.zeros(5)
        for k in range(5):
            losses[k] = model(*get_batch(split))[1].item()
        means[split] = losses.mean()
    model.train()
    return means
class Head(nn.Module):
    def __init__(self, width, size):
        super().__init__()
        self.key, self.query, self.value = (nn.Linear(width, size, bias=False) for _ in range(3))
        self.register_buffer('tril', torch.tril(torch.ones(block_size, block_size)))
        self.dropout = nn.Dropout(0.1)
    def forward(self, x):
        B, T, C = x.shape
        k, q = self.key(x), self.query(x)
        wei = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5
        wei = wei.masked_fill(self.tril[:T, :T] == 0, float('-inf'))
        return self.dropout(F.softmax(wei, dim=-1)) @ self.value(x)
class Model(nn.Module):
    def __init__(self, vocab, width=16):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocab, width), nn.Embedding(block_size, width)
        self.heads = nn.ModuleList([Head(width, width // 2) for _ in range(2)])
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, vocab)
    def forward(self, idx, targets=None):
        B, T = idx.shape
        x = self.tokens(idx) + self.places(torch.arange(T, device=device))
        x = x + torch.cat([h(x) for h in self.heads], dim=-1)
        logits = self.out(self.norm(x))
        if targets is None:
            return logits, None
        B, T, C = logits.shape
        return logits, F.cross_entropy(logits.view(B * T, C), targets.view(B * T))
    def generate(self, idx, count):
        for _ in range(count):
            logits, _ = self(idx[:, -block_size:])
            probs = F.softmax(logits[:, -1, :], dim=-1)
            idx = torch.cat((idx, torch.multinomial(probs, num_samples=1)), dim=1)
        return idx
model = Model(len(chars)).to(device)
print(sum(p.numel() for p in model.parameters()), 'parameters')
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
for step in range(steps):
    if step % 40 == 0:
        means = estimate()
        print(f"step {step}: train loss {means['train']:.4f}, val loss {means['val']:.4f}")
    xb, yb = get_batch('train')
    logits, loss = model(xb, yb)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
print(f'{loss.item():.4f}')
model.eval()
for _ in range(2):
    print(decode(model.generate(torch.zeros((1, 1), dtype=torch.long, device=device), 30)[0].tolist()))
