# After public tutorials of PyTorch's first years, when tensors were wrapped in Variables.
from __future__ import print_function
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torch.utils.data as Data
from torch.autograd import Variable
import numpy as np
torch.manual_seed(1)
# Hyper Parameters
EPOCH = 1
BATCH_SIZE = 20
LR = 0.01
x = torch.unsqueeze(torch.linspace(-1, 1, 100), dim=1)
y = x.pow(2) + 0.2*torch.rand(x.size())
x, y = Variable(x), Variable(y)
class Net(torch.nn.Module):
    def __init__(self, n_feature, n_hidden, n_output):
        super(Net, self).__init__()
        self.hidden = torch.nn.Linear(n_feature, n_hidden)
        self.predict = torch.nn.Linear(n_hidden, n_output)
    def forward(self, x):
        x = F.relu(self.hidden(x))
        x = self.predict(x)
        return x
net_SGD, net_Momentum, net_RMSprop, net_Adam = [Net(1, 20, 1) for _ in range(4)]
nets = [net_SGD, net_Momentum, net_RMSprop, net_Adam]
optimizers = [torch.optim.SGD(net_SGD.parameters(), lr=LR), torch.optim.SGD(net_Momentum.parameters(), lr=LR, momentum=0.8), torch.optim.RMSprop(net_RMSprop.parameters(), lr=LR, alpha=0.9), torch.optim.Adam(net_Adam.parameters(), lr=LR, betas=(0.9, 0.99))]
loss_func = torch.nn.MSELoss()
losses_his = [[], [], [], []]
torch_dataset = Data.TensorDataset(x.data, y.data)
loader = Data.DataLoader(dataset=torch_dataset, batch_size=BATCH_SIZE, shuffle=True, num_workers=0,)
for epoch in range(EPOCH):
    for step, (b_x, b_y) in enumerate(loader):
        b_x, b_y = Variable(b_x), Variable(b_y)
        for net, opt, l_his in zip(nets, optimizers, losses_his):
            output = net(b_x)
            loss = loss_func(output, b_y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            l_his.append(loss.data.numpy())
for l in losses_his: print(np.round(l, 5))
# classification
n_data = torch.ones(50, 2)
x0 = torch.normal(2*n_data, 1); y0 = torch.zeros(50)
x1 = torch.normal(-2*n_data, 1); y1 = torch.ones(50)
x = torch.cat((x0, x1), 0).type(torch.FloatTensor)
y = torch.cat((y0, y1), ).type(torch.LongTensor)
net = torch.nn.Sequential(torch.nn.Linear(2, 10), torch.nn.ReLU(), torch.nn.Linear(10, 2))
print(net)
optimizer = torch.optim.SGD(net.parameters(), lr=0.02)
loss_func = torch.nn.CrossEntropyLoss()
for t in range(30):
    out = net(x)
    loss = loss_func(out, y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    if t % 10 == 0:
        prediction = torch.max(out, 1)[1]
        pred_y = prediction.data.numpy(); target_y = y.data.numpy()
        accuracy = float((pred_y == target_y).astype(int).sum()) / float(target_y.size)
        print('Accuracy=%.2f' % accuracy, 'Loss=%.4f' % loss.data.numpy())
import io
whole, params = io.BytesIO(), io.BytesIO()
torch.save(net, whole); torch.save(net.state_dict(), params)
whole.seek(0); params.seek(0)
net2 = torch.load(whole, weights_only=False)
net3 = torch.nn.Sequential(torch.nn.Linear(2, 10), torch.nn.ReLU(), torch.nn.Linear(10, 2)); net3.load_state_dict(torch.load(params))
print(torch.equal(net2(x), net3(x)))
# RNN
class RNN(nn.Module):
    def __init__(self):
        super(RNN, self).__init__()
        self.rnn = nn.RNN(input_size=1, hidden_size=32, num_layers=1, batch_first=True,)
        self.out = nn.Linear(32, 1)
    def forward(self, x, h_state):
        r_out, h_state = self.rnn(x, h_state)
        outs = []
        for time_step in range(r_out.size(1)):
            outs.append(self.out(r_out[:, time_step, :]))
        return torch.stack(outs, dim=1), h_state
rnn = RNN(); print(rnn)
optimizer = torch.optim.Adam(rnn.parameters(), lr=0.02); loss_func = nn.MSELoss()
h_state = None
for step in range(10):
    start, end = step * np.pi, (step+1)*np.pi
    steps = np.linspace(start, end, 10, dtype=np.float32)
    x = Variable(torch.from_numpy(np.sin(steps)[np.newaxis, :, np.newaxis])); y = Variable(torch.from_numpy(np.cos(steps)[np.newaxis, :, np.newaxis]))
    prediction, h_state = rnn(x, h_state)
    h_state = Variable(h_state.data)
    loss = loss_func(prediction, y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
print(loss.data, prediction.data.numpy().flatten()[:3])
