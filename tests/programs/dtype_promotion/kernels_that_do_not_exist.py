import torch
def tell(*fs):
    for f in fs:
        try:
            print(f())
        except Exception as e:
            print(type(e).__name__ + ":", str(e).split("\n")[0])

b, i, f = torch.tensor([True, False]), torch.tensor([3, 4]), torch.tensor([1.5, -2.])
tell(lambda: b // b, lambda: b % True, lambda: torch.fmod(b, b), lambda: b ** b, lambda: b ** True, lambda: b ** 2, lambda: True ** b)
tell(lambda: abs(b), lambda: b.floor(), lambda: torch.relu(b), lambda: b.square(), lambda: b.clamp(min=False), lambda: b.clamp(min=b), lambda: b.cumsum(0, dtype=torch.bool), lambda: b.sum(dtype=torch.bool))
tell(lambda: i - True, lambda: True - f, lambda: torch.sub(f, True), lambda: torch.sub(i, i, alpha=True), lambda: i.frac(), lambda: i.round(decimals=1), lambda: f.bitwise_not(), lambda: ~f)
tell(lambda: torch.maximum(f, 0), lambda: f.minimum(2), lambda: torch.atan2(f, 1.), lambda: torch.logical_and(b, True), lambda: torch.logaddexp(f, 1.), lambda: torch.logaddexp(i, i), lambda: torch.max(f, 0))
tell(lambda: torch.lerp(i, i, 0.5), lambda: torch.lerp(f, i, 0.5), lambda: torch.lerp(f, f, i), lambda: torch.addcdiv(f, i, i), lambda: torch.addcdiv(f, f, i))
tell(lambda: i.__iand__(2.5), lambda: i.__ilshift__(2.5), lambda: i.clamp_(0.5), lambda: i.clamp_(torch.tensor(0.5)), lambda: torch.arange(3, dtype=torch.bool), lambda: torch.iinfo(torch.bool))
tell(lambda: torch.abs(i, out=torch.ones(2)), lambda: torch.floor(f, out=torch.ones(2).double()), lambda: torch.exp(i, out=torch.ones(2).double()), lambda: torch.amax(i, 0, out=f.clone()[0]), lambda: torch.argmax(i, 0, out=f.clone()[0]), lambda: torch.any(b, 0, out=f.clone()[0]), lambda: torch.cat([f], out=i.clone()))
tell(lambda: torch.nn.BatchNorm1d(2)(torch.ones(3, 2).double()), lambda: torch.nn.LayerNorm(2).double()(torch.ones(3, 2)), lambda: torch.einsum("i,j->ij", i, f))
