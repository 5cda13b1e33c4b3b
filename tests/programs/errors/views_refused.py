import torch
def tell(f, cut=None):
    try:
        print(f())
    except Exception as e:
        print(type(e).__name__ + ":", str(e).split("\n")[0][:cut])
x, v, s = torch.arange(6).view(2, 3), torch.ones(3), torch.tensor(1.)
tell(lambda: v.mT)
tell(lambda: v.H)
tell(lambda: torch.ones(1, 2, 3).H)
tell(lambda: x.squeeze((0, 0)))
tell(lambda: x.unfold(0, -1, 1))
tell(lambda: x.as_strided((3,), (-1,)))
tell(lambda: x.as_strided((2,), (1, 1)))
tell(lambda: torch.vsplit(v, 3))
tell(lambda: x.reshape())
tell(lambda: x.permute())
tell(lambda: s.movedim(0, 0))
tell(lambda: x.prod(0, 1))
tell(lambda: torch.equal(v, 1))
tell(lambda: torch.isclose(v, 1))
tell(lambda: torch.Size([1, 2.5]))
tell(lambda: torch.Size([torch.tensor(2), 3]))
