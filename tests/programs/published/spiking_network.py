# After the tutorials on surrogate gradients of Neftci, Mostafa and Zenke (2019).
import torch, torch.nn as nn, numpy as np
torch.manual_seed(0)
class SurrGradSpike(torch.autograd.Function):
    scale = 100.0
    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        out = torch.zeros_like(input)
        out[input > 0] = 1.0
        return out
    @staticmethod
    def backward(ctx, grad_output):
        input, = ctx.saved_tensors
        grad_input = grad_output.clone()
        return grad_input/(SurrGradSpike.scale*torch.abs(input)+1.0)**2
spike_fn = SurrGradSpike.apply
nb_inputs, nb_hidden, nb_outputs, nb_steps, batch = 20, 8, 2, 25, 16
alpha, beta = float(np.exp(-1e-3/5e-3)), float(np.exp(-1e-3/10e-3))
x = (torch.rand(batch, nb_steps, nb_inputs) < 0.1).float(); y = (torch.rand(batch) < 0.5).long()
w1 = torch.empty((nb_inputs, nb_hidden), requires_grad=True); torch.nn.init.normal_(w1, mean=0.0, std=7*(1.0-beta)/np.sqrt(nb_inputs))
w2 = torch.empty((nb_hidden, nb_outputs), requires_grad=True); torch.nn.init.normal_(w2, mean=0.0, std=7*(1.0-beta)/np.sqrt(nb_hidden))
def run_snn(inputs):
    h1 = torch.einsum("abc,cd->abd", (inputs, w1))
    syn = torch.zeros((batch, nb_hidden)); mem = torch.zeros((batch, nb_hidden)); mem_rec = []; spk_rec = []
    for t in range(nb_steps):
        mthr = mem-1.0
        out = spike_fn(mthr)
        rst = out.detach()
        new_syn = alpha*syn + h1[:,t]
        new_mem = (beta*mem + syn)*(1.0-rst)
        mem_rec.append(mem); spk_rec.append(out)
        mem = new_mem; syn = new_syn
    mem_rec = torch.stack(mem_rec, dim=1); spk_rec = torch.stack(spk_rec, dim=1)
    h2 = torch.einsum("abc,cd->abd", (spk_rec, w2))
    flt = torch.zeros((batch, nb_outputs)); out = torch.zeros((batch, nb_outputs)); out_rec = [out]
    for t in range(nb_steps):
        new_flt = alpha*flt + h2[:,t]; new_out = beta*out + flt
        flt = new_flt; out = new_out; out_rec.append(out)
    return torch.stack(out_rec, dim=1), [mem_rec, spk_rec]
opt = torch.optim.Adam([w1, w2], lr=2e-3, betas=(0.9, 0.999)); log_softmax_fn = nn.LogSoftmax(dim=1); loss_fn = nn.NLLLoss()
for e in range(6):
    output, (mems, spks) = run_snn(x)
    m, _ = torch.max(output, 1)
    reg = 1e-5 * torch.sum(spks) + 1e-5 * torch.mean(torch.sum(torch.sum(spks, dim=0), dim=0) ** 2)
    loss = loss_fn(log_softmax_fn(m), y) + reg
    opt.zero_grad(); loss.backward(); opt.step()
    if e % 2 == 0: print("Epoch %i: loss=%.5f" % (e + 1, loss.item()), spks.sum().item())
