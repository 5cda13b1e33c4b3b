import torch
torch.manual_seed(11)
print(torch.normal(torch.tensor(0.), torch.tensor(1.)), torch.normal(torch.tensor(2.), 0.5).shape, torch.rand_like(torch.ones(2, 1).expand(2, 3)), torch.ones(3, 1, 2).expand(3, 2, 2).clone().uniform_())
e = torch.zeros(2, 2).t()
print(e.uniform_(), torch.bernoulli(torch.full((2, 3), 0.5).t()), torch.randint(low=2, high=5, size=(3,)), torch.randperm(4), torch.rand(1))
