import torch
import torch.nn as nn
from torch.autograd import Variable

a = torch.ones(2)
v = Variable(a)
a.add_(1)
print(v, v is a, v._version, isinstance(a, Variable), isinstance(3, Variable), type(v).__name__)
print(Variable(torch.LongTensor([1, 2])), Variable(torch.zeros(1), True), Variable().shape)
p = Variable(torch.ones(2), requires_grad=True)
(p * p).sum().backward()
print(p.grad.data, p.is_leaf, Variable(p * 2).requires_grad, Variable(nn.Parameter(a), volatile=True).requires_grad)
for wrong in (lambda: Variable([1.]), lambda: Variable(3), lambda: Variable(torch.LongTensor([1]), requires_grad=True), lambda: torch.LongTensor(torch.ones(1))):
    try:
        print(wrong())
    except (TypeError, RuntimeError) as e:
        print(type(e).__name__)
hidden = (Variable(torch.zeros(1, 2)), Variable(torch.zeros(1, 2)))
hidden = tuple([Variable(each.data) for each in hidden])
target = Variable(torch.from_numpy(torch.tensor([0]).numpy()))
loss = nn.CrossEntropyLoss()(Variable(torch.zeros(1, 2), requires_grad=True), target)
print(hidden, loss.data, "%.3f" % loss.data)
torch.set_default_dtype(torch.float64)
print(torch.Tensor([1]).dtype, torch.FloatTensor([1]).dtype, Variable(torch.Tensor(2)).dtype)
torch.set_default_dtype(torch.float32)
