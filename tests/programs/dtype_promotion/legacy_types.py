import torch
a, i = torch.ones(2), torch.LongTensor([1, 2])
print(torch.FloatTensor(2, 3).shape, torch.FloatTensor([1, 2]), torch.ByteTensor([1, 0]), torch.DoubleTensor([[1]]), torch.IntTensor([1.]), torch.BoolTensor([0, 1]), torch.HalfTensor([1]))
print(torch.LongTensor([1.7]), torch.FloatTensor(a) is a, torch.Tensor((2, 3)), torch.Tensor(torch.Size([2, 3])).shape, torch.FloatTensor())
print(a.new([1, 2]), a.new(2, 3).shape, a.new(torch.Size([2])).shape, a.new().shape, i.new([3]), a.new_zeros(size=(2, 1)), a.new_full((2,), 3))
print(a.type(), i.type(), a.type(torch.LongTensor), a.type("torch.DoubleTensor"), a.type_as(i), isinstance(a, torch.FloatTensor), isinstance(i, torch.FloatTensor))
torch.set_default_tensor_type(torch.DoubleTensor)
print(torch.ones(1), torch.tensor(1.5), torch.Tensor([1]).dtype)
torch.set_default_tensor_type("torch.FloatTensor")
print(torch.ones(1).dtype, torch.range(0, 3), torch.range(1, 2, 0.5), torch.range(3, 0, -1, dtype=torch.int64), torch.version.cuda)
for wrong in (lambda: torch.set_default_tensor_type(torch.LongTensor), lambda: torch.range(3), lambda: torch.range(3, 1), lambda: torch.FloatTensor(i), lambda: a.new_ones(foo=1)):
    try:
        print(wrong())
    except (TypeError, RuntimeError) as e:
        print(type(e).__name__)
