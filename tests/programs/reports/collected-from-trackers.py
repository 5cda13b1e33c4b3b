import torch, torch.nn as nn, torch.nn.functional as F
x = torch.tensor([[-1.5, -0.7], [0.3, 1.6]]); y = x.clone(); y.sin_(); print(y.t().argmax(), y)
x = torch.ones(3, 5); v = x.permute(1, 0); v.index_add_(0, torch.tensor([0, 4, 2]), torch.arange(1., 10).view(3, 3)); print(x, v)
y = torch.arange(6.).view(2, 3); i = torch.tensor([[0, 0]]) ; y[i] += y[i]; print(y)
z = torch.zeros(5); a = torch.ones(1, requires_grad=True); z[0] = a; z[1] = a * 2; z[2] = z[0] + z[1]; z[4] = z[2] + z[3]; z[4].backward(); print(z, a.grad)
z = torch.zeros(5); z[0] = a; z[1] = a * 2; z[2] = z[0] * z[1]
try:
    z[2].backward()
except RuntimeError:
    print("written in place")
lin = nn.Linear(4, 6); nn.init.constant_(lin.weight, 0.5); o = lin(torch.ones(2, 4)); o[:, :3] = 0; o.sum().backward(); print(lin.weight.grad, lin.bias.grad)
w = torch.ones(2, 2, requires_grad=True); x = torch.ones(2, 2); l = (x @ w).sum(); x.add_(1)
try:
    l.backward()
except RuntimeError:
    print("written in place")
p = torch.softmax(torch.tensor([[1., 2.]], requires_grad=True), -1); p.retain_grad(); (-(p.log() * torch.tensor([[0., 1.]])).sum()).backward(retain_graph=True); print(p.grad)
s = torch.stack([torch.arange(4.)[k] for k in range(4)], -1); print(torch.index_select(s, -1, torch.tensor([0, 2])))
print(torch.ones(91, 91).add_(torch.ones(91, 91)).sum(), [int(t) for t in torch.arange(10)])
t = torch.ones(5); c = torch.cumsum(t / t.sum(), 0); print((torch.tensor(0.35) < c).nonzero()[0], torch.multinomial(t / 5, 3, generator=torch.Generator().manual_seed(1)))
print(F.interpolate(torch.arange(4.).view(1, 1, 2, 2), size=(3, 3), mode="bilinear", align_corners=True), torch.inverse(torch.tensor([[2., 1.], [1., 3.]])))
print(F.conv2d(torch.ones(1, 2, 4, 4), torch.ones(2, 1, 3, 3), groups=2, padding="same"), F.conv1d(torch.ones(1, 1, 5), torch.ones(1, 1, 2), dilation=2, stride=2), F.conv_transpose1d(torch.ones(1, 1, 3), torch.ones(1, 1, 3), stride=2, output_padding=1))
print(F.layer_norm(torch.tensor([[1e4, 1e4 + 1]]), (2,)), F.group_norm(torch.arange(8.).view(1, 4, 2), 2), torch.var(torch.tensor([1e6, 1e6 + 1, 1e6 + 2])), torch.logsumexp(torch.tensor([-float("inf"), -float("inf")]), 0), torch.softmax(torch.tensor([-float("inf"), 0.]), 0), F.log_softmax(torch.tensor([1e4, 0.]), 0), torch.sigmoid(torch.tensor([-200., 200.])), F.softplus(torch.tensor([-200., 200.])), torch.log1p(torch.tensor(1e-10)), torch.expm1(torch.tensor(1e-10)))
m = nn.MultiheadAttention(4, 2, batch_first=True); q = torch.ones(1, 3, 4); print(m(q, q, q, attn_mask=torch.zeros(3, 3, dtype=torch.bool))[1], torch.isnan(m(q, q, q, key_padding_mask=torch.ones(1, 3, dtype=torch.bool))[0]).all())
b = nn.BatchNorm1d(2); b(torch.tensor([[1., 2.], [3., 4.]])); b.eval(); e = b(torch.ones(1, 2)); b.reset_running_stats(); print(e, b.running_var, b.num_batches_tracked)
d = nn.Dropout(1.0); print(d(torch.ones(3)), F.dropout(torch.ones(3), 0.), nn.Embedding(3, 1, padding_idx=-1).padding_idx, nn.Linear(0, 2)(torch.ones(1, 0)).shape, torch.ones(0, 3).mean(), torch.ones(0, 3).sum(0), F.cross_entropy(torch.ones(0, 3), torch.ones(0).long()), F.mse_loss(torch.ones(0), torch.ones(0)))
x = torch.tensor([1., float("nan"), 2.]); print(x.max(), x.min(), x.argmax(), x.sort(), x.median(), x.nanmedian(), x.clamp(0, 1), x.relu(), torch.maximum(x, torch.zeros(3)), torch.fmax(x, torch.zeros(3)), x.topk(1), x.unique(), x.sum(), x.nansum(), x.std(), x == x, x.cummax(0), F.max_pool1d(x.view(1, 1, 3), 2), x.sign(), x.round(), x.to(torch.bool))
g = torch.ones(3, requires_grad=True); (g / g.norm()).sum().backward(); print(g.grad); g2 = torch.zeros(3, requires_grad=True); F.normalize(g2, dim=0).sum().backward(); print(g2.grad); g3 = torch.zeros(2, requires_grad=True); (g3.sqrt() * 0).sum().backward(); print(g3.grad); g4 = torch.zeros(2, requires_grad=True); torch.where(g4 > 0, g4.sqrt(), g4).sum().backward(); print(g4.grad); g5 = torch.tensor([0., 2.], requires_grad=True); g5.prod().backward(); print(g5.grad); g6 = torch.tensor([1., 1.], requires_grad=True); g6.amax().backward(); print(g6.grad); g7 = torch.tensor([0.], requires_grad=True); (g7.abs() ** 0.5).backward(); print(g7.grad); g8 = torch.tensor([-2.], requires_grad=True); (g8 ** 2).backward(); (g8 ** torch.tensor(3.)).backward(); print(g8.grad)
