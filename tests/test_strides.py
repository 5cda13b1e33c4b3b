"""Results lie in memory as PyTorch's do: `stride()` of what is computed from permuted operands.

Which tensors `view` accepts, what `reshape` and `contiguous` share, in which order random numbers
fill a tensor and what NumPy sees all follow from it. Dimensions of extent 1 do not count.
"""

from __future__ import annotations

import types

import numpy as np
import pytest
from harness import fresh_state, load

EXPRESSIONS = """
torch.where(a>0,a,b)
torch.where(m,a,1.0)
torch.where(c>0,a,b)
torch.where(a>0,c,r)
a.clamp(0,1)
a.clamp(b,None)
a.clamp_min(0)
a.clamp(c,c)
torch.lerp(a,b,0.5)
torch.lerp(c,a,b)
torch.addcmul(a,b,c)
torch.addcdiv(a,b,c)
torch.addcmul(r,a,a)
a.masked_fill(m,1.0)
torch.zeros_like(a)
torch.ones_like(a)
torch.full_like(a,2)
torch.zeros_like(e)
e.clone()
e2.clone()
a.new_zeros(a.shape)
a.flip(0)
a.flip(0,1)
torch.roll(a,1,0)
torch.rot90(a)
a.cumsum(0)
a.cumprod(0)
a.cummax(0)[0]
torch.softmax(a,-1)
torch.log_softmax(a,0)
a.sort(0)[0]
a.sort(0)[1]
a.argsort(0)
a.topk(2,0)[0]
a.sum(0,keepdim=True)
a.amax(0,keepdim=True)
a.max(0,keepdim=True)[0]
a3.sum(0)
a3.mean(1)
a3.amax(0)
a3.max(1)[0]
a3.prod(1)
a3.std(1)
a3.norm(dim=1)
a3.logsumexp(1)
a3.argmax(1)
a3.any(1)
a @ r
r @ a
a @ a.t()
a3 @ r3
a3 @ a
torch.matmul(a, a3)
torch.bmm(a3,a3)
a3 @ v
torch.outer(v,v)
a[torch.tensor([0,1])]
a[:,torch.tensor([0,1])]
a3[torch.tensor([0,1])]
a3[:,torch.tensor([0,1])]
a3[:,:,torch.tensor([0,1])]
a3[torch.tensor([[0,1],[1,0]])]
a3[:,torch.tensor([[0,1],[1,0]])]
a3[torch.tensor([0,1]),:,torch.tensor([0,1])]
a3[:,torch.tensor([0,1]),torch.tensor([0,1])]
a3[torch.tensor([0,1]),torch.tensor([0,1])]
a3[m3]
a3[:,m]
a[[1,0]]
a[None,[1,0]]
a3[0,[1,0]]
a.index_select(0,torch.tensor([1,0]))
a.gather(0,torch.zeros(3,3,dtype=torch.long))
a.take_along_dim(torch.zeros(3,3,dtype=torch.long),0)
torch.take(a,torch.tensor([[0,1,2],[1,2,3]]).t())
a.tril()
a.triu()
a.diag_embed()
a.repeat(2,1)
a.tile(2,1)
a.repeat_interleave(2,0)
torch.cat([a,a])
torch.cat([a,a],1)
torch.cat([a3,a3],1)
torch.stack([a,a])
torch.stack([a,a],-1)
torch.maximum(a,b)
torch.maximum(r,a)
a+r
r+a
a+c
c+a
a+v
v+a
e+e
e2+1
e*2
a3+a
a+a3
a==b
a==r
~(a>0)
a.to(torch.float32)
a.int()
a.bool()
a.float()
torch.isclose(a,b)
torch.isnan(a)
torch.isfinite(a)
a.abs()
a.sign()
a.relu()
torch.relu(a)
torch.nn.functional.relu(a)
torch.nn.functional.gelu(a)
torch.nn.functional.silu(a)
torch.nn.functional.leaky_relu(a)
torch.nn.functional.elu(a)
torch.nn.functional.softplus(a)
torch.nn.functional.hardtanh(a)
torch.nn.functional.threshold(a,0.,1.)
torch.nn.functional.linear(a,r)
torch.nn.functional.layer_norm(a,(3,))
torch.nn.functional.pad(a,(1,1))
torch.nn.functional.normalize(a)
a**2
a.pow(b)
a//2
a%2
a.fmod(2)
torch.atan2(a,b)
torch.logaddexp(a,b)
torch.logical_and(a,b)
torch.logical_not(a)
a.nan_to_num()
a.masked_scatter(m, r)
a.scatter(0,torch.zeros(3,3,dtype=torch.long),1.)
a.index_add(0,torch.tensor([0]),r[:1])
a.index_copy(0,torch.tensor([0]),r[:1])
a.masked_select(m)
a.round()
a.floor()
torch.round(a,decimals=1)
a.trunc()
a.frac()
a.square()
a.rsqrt()
a.sigmoid()
a.erf()
a.exp()
a.deg2rad()
torch.sub(a,b,alpha=2)
torch.add(r,a,alpha=2)
torch.rsub(a,b)
torch.div(a,b,rounding_mode='floor')
torch.true_divide(a,b)
torch.addmm(a,r,r)
torch.tensordot(a3,a3,1)
torch.einsum('ij,jk->ik',a,a)
torch.einsum('ij->ji',r)
torch.meshgrid(v,v,indexing='ij')[0]
torch.meshgrid(v,v,indexing='xy')[0]
torch.broadcast_tensors(a,v)[1]
torch.unique(a)
torch.histc(a)
torch.trace(a)
torch.diff(a)
torch.cross(a,b,dim=0)
torch.cdist(a,b)
torch.nonzero(a)
torch.argwhere(a)
torch.tril_indices(3,3)
torch.cartesian_prod(v,v)
torch.combinations(v)
torch.movedim(a3,0,1)
a3.reshape(-1)
a3.flatten(1)
a3.contiguous()
torch.unflatten(a,0,(1,3))
a.data.clone()
a.type(torch.float32)
a.logical_xor(b)
torch.nn.functional.one_hot(torch.tensor([[0,1],[1,2]]).t())
torch.count_nonzero(a,0)
torch.searchsorted(v,a)
torch.bucketize(a,v)
torch.quantile(a,0.5,dim=0)
torch.median(a3,0)[0]
torch.rand_like(a)
torch.randn_like(a)
torch.nn.functional.dropout(a)
""".strip().split("\n")


def operands(torch: types.ModuleType) -> dict[str, object]:
    """Row-major r, r3 and v; a, b, m, a3 permuted; c a column; e and e2 expanded."""
    r = torch.arange(9.0).view(3, 3) + 1
    r3 = torch.arange(27.0).view(3, 3, 3)
    v = torch.arange(3.0)
    a, a3 = (r + 0.5).t(), r3.permute(2, 0, 1)
    return {
        "torch": torch,
        "r": r,
        "a": a,
        "b": (r + 1).t(),
        "m": (r > 3).t(),
        "c": torch.arange(3.0).view(3, 1),
        "v": v,
        "r3": r3,
        "a3": a3,
        "m3": a3 > 4,
        "e": v.expand(2, 3),
        "e2": a.unsqueeze(1).expand(3, 2, 3),
    }


def shown(torch: types.ModuleType, expression: str) -> tuple:
    """Shape, strides of the dimensions that matter, and values."""
    fresh_state(torch)
    result = eval(expression, operands(torch))
    strides = tuple(k for n, k in zip(result.shape, result.stride()) if n != 1)
    return tuple(result.shape), strides, result.tolist()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_lies_as_torchs(expression: str, oracle: types.ModuleType) -> None:
    shape, strides, values = shown(oracle, expression)
    ours = shown(load("lazyt"), expression)
    assert ours[:2] == (shape, strides)
    np.testing.assert_allclose(ours[2], values, rtol=1e-5)
