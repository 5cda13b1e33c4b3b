# Tensors: PyTorch introduced to a newcomer.
import lazyt as torch
torch.manual_seed(0)
x = torch.empty(5, 3); print(x.shape)
x = torch.rand(5, 3); print(x)
x = torch.zeros(5, 3, dtype=torch.long); print(x)
x = torch.tensor([5.5, 3]); print(x)
x = x.new_ones(5, 3); y = torch.rand(5, 3)
print(x + y)
print(torch.add(x, y))
print(x[:, 1], y[:, 1])
print(y.t(), y.mean(), y.sum(0), y > 0.5)
