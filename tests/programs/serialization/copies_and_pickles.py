import copy, pickle, torch
def trip(x):
    return pickle.loads(pickle.dumps(x))
x = torch.arange(6.)
r = trip({"x": x, "view": x[2:4], "again": x})
r["x"].zero_()
print(r["view"], r["again"] is r["x"], r["view"].storage_offset())
w = torch.tensor([1., 2.], requires_grad=True)
h = trip(w * 2)
print(h, h.is_leaf, trip(w.detach()).requires_grad)
(w * w).sum().backward()
c, d = copy.copy(w), copy.deepcopy(w)
print(c.grad, d.grad, c is w, c.is_leaf, c.requires_grad)
c.data[0] = 50
print(w, d)
w.note = [1]
print(trip(w).note, copy.copy(w).note is w.note, copy.deepcopy(w).note is w.note)
print(trip(torch.relu)(torch.tensor([-1., 1.])), trip(torch.Tensor) is torch.Tensor, trip(torch.nn.functional.relu) is torch.nn.functional.relu)
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Linear(2, 2)
        self.b = self.a
        self.register_buffer("buf", torch.ones(2))
        self.part = self.buf[:1]
n = Net()
p = trip(n)
p.buf[0] = 5
q = copy.deepcopy(n)
q.buf[0] = 6
print(p.a is p.b, p.part, q.a.weight is q.b.weight, q.part, n.part, list(p.state_dict()))
