# After PyTorch's tutorial on translation with attention; here it turns numbers round.
from __future__ import unicode_literals, print_function, division
import random
import torch
import torch.nn as nn
from torch import optim
import torch.nn.functional as F
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.manual_seed(0); random.seed(0)
MAX_LENGTH = 8
SOS, EOS = 0, 1
pairs = []
for _ in range(60):
    s = [random.randint(2, 9) for _ in range(random.randint(3, 6))]
    pairs.append((s + [EOS], s[::-1] + [EOS]))
class EncoderRNN(nn.Module):
    def __init__(self, input_size, hidden_size):
        super(EncoderRNN, self).__init__()
        self.hidden_size = hidden_size
        self.embedding = nn.Embedding(input_size, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size)
    def forward(self, input, hidden):
        embedded = self.embedding(input).view(1, 1, -1)
        output = embedded
        output, hidden = self.gru(output, hidden)
        return output, hidden
    def initHidden(self):
        return torch.zeros(1, 1, self.hidden_size, device=device)
class AttnDecoderRNN(nn.Module):
    def __init__(self, hidden_size, output_size, dropout_p=0.1, max_length=MAX_LENGTH):
        super(AttnDecoderRNN, self).__init__()
        self.hidden_size = hidden_size
        self.embedding = nn.Embedding(output_size, hidden_size)
        self.attn = nn.Linear(hidden_size * 2, max_length)
        self.attn_combine = nn.Linear(hidden_size * 2, hidden_size)
        self.dropout = nn.Dropout(dropout_p)
        self.gru = nn.GRU(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, output_size)
    def forward(self, input, hidden, encoder_outputs):
        embedded = self.embedding(input).view(1, 1, -1)
        embedded = self.dropout(embedded)
        attn_weights = F.softmax(self.attn(torch.cat((embedded[0], hidden[0]), 1)), dim=1)
        attn_applied = torch.bmm(attn_weights.unsqueeze(0), encoder_outputs.unsqueeze(0))
        output = torch.cat((embedded[0], attn_applied[0]), 1)
        output = self.attn_combine(output).unsqueeze(0)
        output = F.relu(output)
        output, hidden = self.gru(output, hidden)
        output = F.log_softmax(self.out(output[0]), dim=1)
        return output, hidden, attn_weights
enc, dec = EncoderRNN(10, 16).to(device), AttnDecoderRNN(16, 10).to(device)
eo, do = optim.SGD(enc.parameters(), lr=0.05), optim.SGD(dec.parameters(), lr=0.05)
criterion = nn.NLLLoss()
def train(inp, tgt):
    h = enc.initHidden()
    eo.zero_grad(); do.zero_grad()
    outs = torch.zeros(MAX_LENGTH, enc.hidden_size, device=device)
    loss = 0
    for ei in range(inp.size(0)):
        o, h = enc(inp[ei], h)
        outs[ei] = o[0, 0]
    di = torch.tensor([[SOS]], device=device)
    if random.random() < 0.5:
        for t in range(tgt.size(0)):
            o, h, a = dec(di, h, outs)
            loss += criterion(o, tgt[t])
            di = tgt[t]
    else:
        for t in range(tgt.size(0)):
            o, h, a = dec(di, h, outs)
            topv, topi = o.topk(1)
            di = topi.squeeze().detach()
            loss += criterion(o, tgt[t])
            if di.item() == EOS:
                break
    loss.backward()
    eo.step(); do.step()
    return loss.item() / tgt.size(0)
total = 0
for it in range(1, 13):
    s, t = random.choice(pairs)
    total += train(torch.tensor(s, dtype=torch.long, device=device).view(-1, 1), torch.tensor(t, dtype=torch.long, device=device).view(-1, 1))
    if it % 4 == 0:
        print('(%d %d%%) %.4f' % (it, it / 12 * 100, total / 4)); total = 0
