import torch
def tell(f, cut=None):
    try:
        print(f())
    except Exception as e:
        print(type(e).__name__ + ":", str(e).split("\n")[0][:cut])
with torch.inference_mode():
    z = torch.ones(2)
    z.view(2).add_(1)
tell(lambda: z.view(2).add_(1), 60)
tell(lambda: z[0].zero_(), 60)
tell(lambda: z._version)
print(torch.ones(2) + z.shape[0], z.clone().mul_(0).add_(1), z.view(1, 2).is_inference())
x = torch.tensor([1., 2.], requires_grad=True)
print(torch.autograd.grad(x * 2, x, torch.tensor([1, 10])), torch.autograd.grad(x * 2, x, torch.ones(2).double())[0].dtype)
