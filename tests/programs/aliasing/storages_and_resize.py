import torch
x = torch.arange(6)
y = x.view(2, 3)
print(x[2:].untyped_storage().data_ptr() == x.data_ptr(), y.untyped_storage().nbytes(), x[2:].storage_offset(), x.clone().untyped_storage().data_ptr() == x.data_ptr())
x.resize_(2, 2)
x[0, 0] = 9
print(x, y)
x.t_()
print(x, x.stride())
out = torch.ones(3)
torch.mul(y, 2, out=out.resize_(0))
print(out.shape)
try:
    torch.ones(2, requires_grad=True).resize_(3)
except RuntimeError as e:
    print(e)
m = torch.zeros(2, 4)
left, right = m.hsplit(2)
left += 1
m.vsplit(2)[1][:] += 10
m.narrow_copy(0, 0, 1).zero_()
m.mH[3] = 7
print(m, right)
e = torch.tensor([1., 2.]).expand(2, 2)
e.masked_fill_(torch.tensor([[True, False], [False, False]]), 9.)
print(e)
