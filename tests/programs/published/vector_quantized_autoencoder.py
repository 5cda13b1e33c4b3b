# After public implementations of VQ-VAE (van den Oord et al., 2017).
import torch, torch.nn as nn, torch.nn.functional as F
torch.manual_seed(0)
class VectorQuantizer(nn.Module):
    def __init__(self, num_embeddings, embedding_dim, commitment_cost):
        super().__init__()
        self._embedding_dim, self._num_embeddings = embedding_dim, num_embeddings
        self._embedding = nn.Embedding(num_embeddings, embedding_dim)
        self._embedding.weight.data.uniform_(-1/num_embeddings, 1/num_embeddings)
        self._commitment_cost = commitment_cost
    def forward(self, inputs):
        inputs = inputs.permute(0, 2, 3, 1).contiguous()
        input_shape = inputs.shape
        flat_input = inputs.view(-1, self._embedding_dim)
        distances = (torch.sum(flat_input**2, dim=1, keepdim=True) + torch.sum(self._embedding.weight**2, dim=1) - 2 * torch.matmul(flat_input, self._embedding.weight.t()))
        encoding_indices = torch.argmin(distances, dim=1).unsqueeze(1)
        encodings = torch.zeros(encoding_indices.shape[0], self._num_embeddings, device=inputs.device)
        encodings.scatter_(1, encoding_indices, 1)
        quantized = torch.matmul(encodings, self._embedding.weight).view(input_shape)
        e_latent_loss = F.mse_loss(quantized.detach(), inputs)
        q_latent_loss = F.mse_loss(quantized, inputs.detach())
        loss = q_latent_loss + self._commitment_cost * e_latent_loss
        quantized = inputs + (quantized - inputs).detach()
        avg_probs = torch.mean(encodings, dim=0)
        perplexity = torch.exp(-torch.sum(avg_probs * torch.log(avg_probs + 1e-10)))
        return loss, quantized.permute(0, 3, 1, 2).contiguous(), perplexity, encodings
class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self._block = nn.Sequential(nn.ReLU(True), nn.Conv2d(c, c, 3, 1, 1, bias=False), nn.ReLU(True), nn.Conv2d(c, c, 1, 1, bias=False))
    def forward(self, x): return x + self._block(x)
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 4, 2, 1), Residual(8), nn.Conv2d(8, 4, 1))
        self.vq = VectorQuantizer(16, 4, 0.25)
        self.dec = nn.Sequential(nn.Conv2d(4, 8, 3, 1, 1), Residual(8), nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1))
    def forward(self, x):
        loss, q, perp, _ = self.vq(self.enc(x))
        return loss, self.dec(q), perp
model = Model(); opt = torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=False)
data = torch.rand(40, 1, 12, 12); var = data.var().item()
err, per = [], []
for i in range(10):
    b = data[torch.randperm(40)[:8]]
    opt.zero_grad()
    vq_loss, rec, perp = model(b)
    recon = F.mse_loss(rec, b) / var
    (recon + vq_loss).backward(); opt.step()
    err.append(recon.item()); per.append(perp.item())
    if (i + 1) % 5 == 0: print('%d iterations' % (i + 1), 'recon_error: %.4f' % (sum(err[-5:]) / 5), 'perplexity: %.4f' % (sum(per[-5:]) / 5))
