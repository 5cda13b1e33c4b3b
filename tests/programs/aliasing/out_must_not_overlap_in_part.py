import torch
def tell(f):
    try:
        print(f())
    except RuntimeError as e:
        print(str(e)[:60])
o = torch.arange(4.)
tell(lambda: torch.exp(o[1:], out=o[:-1]))
tell(lambda: torch.add(o[1:], o[:-1], out=o[1:]))
tell(lambda: torch.mul(o[:-1], 2, out=o[1:]))
tell(lambda: torch.add(o, 1, out=o))
tell(lambda: torch.neg(o[:2], out=o[2:]))
tell(lambda: torch.sub(o[2:], o[:2], out=o[:2]))
print(o, o[:, None].view(torch.int32)[0], torch.zeros(2).view(torch.uint8).shape, torch.tensor([[1, 2]], dtype=torch.int16).view(torch.int8))
tell(lambda: torch.zeros(3, dtype=torch.uint8).view(torch.float32))
x = torch.arange(12.).view(3, 4)
print(x[:, 0].reshape(3, 1).stride(), x[:, 0].view(1, 3).stride(), x.broadcast_to(2, 3, 4).stride(), x.broadcast_to((2, 3, 4)).shape)
