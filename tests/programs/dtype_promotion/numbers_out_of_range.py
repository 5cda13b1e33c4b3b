import torch
def tell(*fs):
    for f in fs:
        try:
            print(f())
        except Exception as e:
            print(type(e).__name__ + ":", str(e).split("\n")[0])

u, s, h = torch.tensor([1, 255], dtype=torch.uint8), torch.tensor([1, -128], dtype=torch.int8), torch.ones(2).half()
m = torch.tensor([True, False])
tell(lambda: u == -1, lambda: u < 300, lambda: u > -1, lambda: s < 1000, lambda: torch.tensor([5], dtype=torch.int32) == 2 ** 32 + 5, lambda: torch.tensor([1]) < 2 ** 70)
tell(lambda: u + 300, lambda: u - 2, lambda: u // 300, lambda: u & -1, lambda: u ** -1, lambda: u ** 300, lambda: s ** 200, lambda: 300 ** u, lambda: torch.tensor([1]) + 2 ** 64)
tell(lambda: u.clamp(max=300), lambda: u.clamp(min=-1), lambda: s.clamp(-200, 5), lambda: u.clone().fill_(-1), lambda: u.clone().fill_(300), lambda: s.clone().fill_(2.9), lambda: s.clone().fill_(-128.5), lambda: h.clone().fill_(1e10))
tell(lambda: torch.full((2,), -200, dtype=torch.uint8), lambda: torch.full((2,), -256, dtype=torch.uint8), lambda: torch.full((2,), 2 ** 40, dtype=torch.int32), lambda: torch.full((2,), float("nan"), dtype=torch.int64), lambda: torch.full_like(s, 1e20), lambda: torch.full((1,), 2.9, dtype=torch.int32))
tell(lambda: s.masked_fill(m, 2.5), lambda: m.masked_fill(m, 2.5), lambda: s.masked_fill(m, float("inf")), lambda: h.masked_fill(m, -1e9), lambda: h.masked_fill(m, float("-inf")), lambda: u.masked_fill(m, -1), lambda: s.to(torch.int32).masked_fill(m, 1e10))
tell(lambda: h * 1e9, lambda: h + 1e9, lambda: h.to(torch.bfloat16) * 1e39, lambda: torch.tensor(3).flip(0))
