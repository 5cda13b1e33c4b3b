# After public notebooks of denoising diffusion (Ho et al., 2020).
import torch, torch.nn as nn, torch.nn.functional as F, math
torch.manual_seed(42)
device = 'cuda' if torch.cuda.is_available() else 'cpu'
class SinusoidalPositionEmbeddings(nn.Module):
    def __init__(self, dim):
        super().__init__(); self.dim = dim
    def forward(self, time):
        device = time.device
        half_dim = self.dim // 2
        embeddings = math.log(10000) / (half_dim - 1)
        embeddings = torch.exp(torch.arange(half_dim, device=device) * -embeddings)
        embeddings = time[:, None] * embeddings[None, :]
        embeddings = torch.cat((embeddings.sin(), embeddings.cos()), dim=-1)
        return embeddings
class Block(nn.Module):
    def __init__(self, in_ch, out_ch, time_emb_dim, up=False):
        super().__init__()
        self.time_mlp = nn.Linear(time_emb_dim, out_ch)
        if up:
            self.conv1 = nn.Conv2d(2*in_ch, out_ch, 3, padding=1)
            self.transform = nn.ConvTranspose2d(out_ch, out_ch, 4, 2, 1)
        else:
            self.conv1 = nn.Conv2d(in_ch, out_ch, 3, padding=1)
            self.transform = nn.Conv2d(out_ch, out_ch, 4, 2, 1)
        self.conv2 = nn.Conv2d(out_ch, out_ch, 3, padding=1)
        self.bnorm1 = nn.BatchNorm2d(out_ch)
        self.gn = nn.GroupNorm(2, out_ch)
        self.relu = nn.SiLU()
    def forward(self, x, t):
        h = self.bnorm1(self.relu(self.conv1(x)))
        time_emb = self.relu(self.time_mlp(t))
        time_emb = time_emb[(..., ) + (None, ) * 2]
        h = h + time_emb
        h = self.gn(self.relu(self.conv2(h)))
        return self.transform(h)
class SimpleUnet(nn.Module):
    def __init__(self):
        super().__init__()
        down, up = (4, 8, 16), (16, 8, 4)
        self.time_mlp = nn.Sequential(SinusoidalPositionEmbeddings(8), nn.Linear(8, 8), nn.ReLU())
        self.conv0 = nn.Conv2d(1, down[0], 3, padding=1)
        self.downs = nn.ModuleList([Block(down[i], down[i+1], 8) for i in range(len(down)-1)])
        self.ups = nn.ModuleList([Block(up[i], up[i+1], 8, up=True) for i in range(len(up)-1)])
        self.output = nn.Conv2d(up[-1], 1, 1)
    def forward(self, x, timestep):
        t = self.time_mlp(timestep)
        x = self.conv0(x)
        residual_inputs = []
        for down in self.downs:
            x = down(x, t); residual_inputs.append(x)
        for up in self.ups:
            x = torch.cat((x, residual_inputs.pop()), dim=1)
            x = up(x, t)
        return self.output(x)
T = 10
betas = torch.linspace(0.0001, 0.02, T)
alphas = 1. - betas
alphas_cumprod = torch.cumprod(alphas, axis=0)
alphas_cumprod_prev = F.pad(alphas_cumprod[:-1], (1, 0), value=1.0)
sqrt_recip_alphas = torch.sqrt(1.0 / alphas)
sqrt_alphas_cumprod = torch.sqrt(alphas_cumprod)
sqrt_one_minus = torch.sqrt(1. - alphas_cumprod)
posterior_variance = betas * (1. - alphas_cumprod_prev) / (1. - alphas_cumprod)
def get_index_from_list(vals, t, x_shape):
    batch_size = t.shape[0]
    out = vals.gather(-1, t.cpu())
    return out.reshape(batch_size, *((1,) * (len(x_shape) - 1))).to(t.device)
def forward_diffusion_sample(x_0, t, device="cpu"):
    noise = torch.randn_like(x_0)
    return get_index_from_list(sqrt_alphas_cumprod, t, x_0.shape).to(device) * x_0.to(device) + get_index_from_list(sqrt_one_minus, t, x_0.shape).to(device) * noise.to(device), noise.to(device)
model = SimpleUnet().to(device)
print("Num params: ", sum(p.numel() for p in model.parameters()))
opt = torch.optim.Adam(model.parameters(), lr=0.001)
data = (torch.rand(32, 1, 8, 8) > 0.5).float() * 2 - 1
loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True, drop_last=True)
for epoch in range(2):
    for step, batch in enumerate(loader):
        opt.zero_grad()
        t = torch.randint(0, T, (8,), device=device).long()
        x_noisy, noise = forward_diffusion_sample(batch, t, device)
        loss = F.l1_loss(noise, model(x_noisy, t))
        loss.backward(); opt.step()
        if step % 2 == 0: print(f"Epoch {epoch} | step {step:03d} Loss: {loss.item():.5f}")
@torch.no_grad()
def sample_timestep(x, t):
    betas_t = get_index_from_list(betas, t, x.shape)
    model_mean = get_index_from_list(sqrt_recip_alphas, t, x.shape) * (x - betas_t * model(x, t) / get_index_from_list(sqrt_one_minus, t, x.shape))
    if t == 0: return model_mean
    return model_mean + torch.sqrt(get_index_from_list(posterior_variance, t, x.shape)) * torch.randn_like(x)
img = torch.randn((1, 1, 8, 8), device=device)
for i in range(0, T)[::-1]:
    img = torch.clamp(sample_timestep(img, torch.full((1,), i, device=device, dtype=torch.long)), -1.0, 1.0)
print(img[0, 0, :2], img.mean())
