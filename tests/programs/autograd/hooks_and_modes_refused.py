import torch
def tell(f, cut=None):
    try:
        print(f())
    except Exception as e:
        print(type(e).__name__ + ":", str(e).split("\n")[0][:cut])

x = torch.tensor([1., 2.], requires_grad=True)
for hook in (lambda g: torch.ones(3), lambda g: g.double(), lambda g: 3):
    y = x * 1
    y.register_hook(hook)
    tell(lambda: y.sum().backward())
tell(lambda: (x * 2).sum().backward(inputs=[x.detach()]))
x.grad = None
(x ** 3).sum().backward(create_graph=True)
print(x.grad)
again = torch.no_grad()
with again:
    with again:
        print(torch.is_grad_enabled())
    print(torch.is_grad_enabled())
print(torch.is_grad_enabled())
torch.set_grad_enabled(True)
names = lambda t: [type(f).__name__ for f, _ in t.grad_fn.next_functions]
print(names(x * 2), names(x + 1), names(x - 1), names(x / 2), names(1 - x), names(x ** 2), names(x[[0]]), names(torch.where(x > 1, x, x * 2)), names(x * torch.tensor([1, 2])))
m = torch.tensor([True, False])
y = x.masked_fill(m, 0.)
m[0] = False
tell(lambda: y.sum().backward(), 115)
with torch.inference_mode():
    t = torch.ones(2)
print(t.is_inference(), t[0].is_inference(), (t * 2).is_inference(), t.clone().is_inference())
