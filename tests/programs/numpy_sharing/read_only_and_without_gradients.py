import numpy as np, torch, warnings
warnings.simplefilter("ignore")
a = np.arange(3)
a.flags.writeable = False
t = torch.from_numpy(a)
t.add_(1)
print(t, a, t.numpy().flags.writeable)
w = torch.tensor([1., 2.], requires_grad=True)
with torch.no_grad():
    n = w.numpy()
    w += 1
print(n)
try:
    w.numpy()
except RuntimeError as e:
    print(e)
