"""Subscripts give what PyTorch gives, reading and writing, in every form; so do index functions.

Values, dtypes, shapes, grad_fn, gradients, error types and texts are compared.
"""

from __future__ import annotations

import types

import pytest
from harness import load
from surface import lines_of, outcome, same

LAZYT = load("lazyt")
PREPARATION = """
x = torch.arange(6.).reshape(2, 3).clone()
w = (torch.arange(6.).reshape(2, 3) + 1).requires_grad_()
y = w * 1
v = (torch.ones(3) * 2).requires_grad_()
k, u, b = torch.zeros(3, dtype=torch.long), torch.zeros(3, dtype=torch.uint8), torch.zeros(3) > 1
m = torch.tensor([True, False, True])
idx = torch.tensor([[0, 1, 0], [1, 1, 0]])
src = torch.arange(6.).reshape(2, 3) * 10 + 10
z = torch.zeros(2, 3)
"""

READS = r"""
y[...]
y[:]
y[:, :]
y[0]
y[0,1:]
y[1:,0]
y[None]
y[()]
y[[0,1]]
y[[[0,1],[1,0]]]
y[[slice(0,1)]]
y[[0,None]]
y[[slice(0,1),slice(1,2)]]
y[[torch.tensor(0),torch.tensor(1)]]
y[[True,False]]
y[[[True,False,True],[False,True,True]]]
y[True]
y[False]
y[True, False]
y[np.array([0,1])]
y[np.int64(1)]
y[np.array(1)]
y[np.bool_(True)]
y[np.array([True,False])]
y[torch.tensor(1)]
y[torch.tensor(True)]
y[torch.tensor(1,dtype=torch.uint8)]
y[torch.tensor([1,0],dtype=torch.uint8)]
y[torch.tensor([1,0],dtype=torch.int16)]
y[torch.tensor([1,0],dtype=torch.int32)]
y[torch.tensor([1.,0])]
y[torch.tensor([True,False,True])]
y[:,torch.tensor([True,False])]
y[torch.tensor([0,1]),torch.tensor([0,1,2])]
y[5]
y[0,5]
y[0,0,0]
y[[5]]
y[-3]
y[[-3]]
y[0,[7]]
y[1.5]
y['a']
y[0,'a']
y[{}]
y[::-1]
y[::0]
y[1.5:]
y[torch.tensor(1):]
y[np.int64(0):np.int64(1)]
torch.tensor(3.)[0]
torch.tensor(3.)[:]
torch.tensor(3.)[...]
torch.tensor(3.)[None]
torch.tensor(3.)[True]
torch.tensor(3.)[torch.tensor(True)]
torch.tensor(3.)[[0]]
torch.tensor(3.)[torch.tensor(0)]
torch.zeros(0,3)[0]
torch.zeros(0,3)[[0]]
torch.zeros(0,3)[[]]
torch.zeros(0,3)[torch.zeros(0,dtype=torch.bool)]
y[[]]
y[...,...]
y[...,0]
y[0,...,0,0]
y[range(2)]
y[(0,1),]
y[(0,1),(1,2)]
y[0][1]
y[[0,1],:,None].shape
torch.zeros(2,3,4,5)[:,[0,1],:,[0,1]].shape
torch.zeros(2,3,4,5)[0,:,[0,1]].shape
torch.zeros(2,3,4,5)[:,0,[0,1]].shape
torch.zeros(2,3,4,5)[[0,1],0,[0,1]].shape
torch.zeros(2,3,4,5)[[0,1],None,[0,1]].shape
torch.zeros(2,3,4,5)[[[0],[1]],...,[0,1]].shape
y[torch.tensor([[True,False,True],[False,True,True]])]
y[torch.tensor([0]),torch.tensor([True,False,True])]
y[None,None,0].stride()
y[:,None].stride()
y[0,None].stride()
y[:1].stride()
y[::2].stride()
y[2:1].storage_offset()
y[5:].storage_offset()
x.t()[torch.tensor([0,1])].stride()
y[torch.tensor([],dtype=torch.long)]
y[torch.tensor([])]
y[(slice(None),)*3]
y[1,2,...]
y[10**30]
y[:10**30]
y[np.float32(1)]
y[[1.5]]
y[[0, 1.5]]
y[[None]]
y[['a']]
y[np.array(['a'])]
y[np.array([1.5])]
y[1, np.array([0])]
y[[0,1],[True,False,True]]
y[(torch.tensor([0,1]),slice(None),None)].shape
"""
WRITES = r"""
x[0]=1
x[0]=[1,2,3]
x[0]=np.array([1,2,3.])
x[0]=np.float32(2)
x[0]=np.float64(2)
x[0]=np.int64(2)
x[0]=np.bool_(True)
x[0]='a'
x[0]=None
x[0]=1j
x[0]=torch.tensor(5)
x[0]=torch.tensor([1,2,3])
x[0]=torch.ones(1,1,3)
x[0]=torch.ones(2,3)
x[0]=torch.ones(2)
x[:]=torch.ones(2)
x[[0,1]]=torch.ones(2)
x[[0,1]]=torch.ones(1,2,3)
x[[0,1]]=torch.ones(3)
x[[0,1]]=torch.tensor([1,2,3])
x[[0,1]]=torch.tensor(7)
x[[0,1]]=torch.tensor([7])
x[[0,1]]=7
x[x>2]=torch.tensor(7)
x[x>2]=torch.tensor([7])
x[x>2]=torch.tensor([7,8,9])
x[x>2]=torch.tensor([7.,8,9])
x[x>2]=torch.tensor([7.,8])
x[x>2]=7
x[x>2]=True
x[torch.tensor([True,False])]=torch.tensor([1.,2,3])
x[torch.tensor([True,False])]=torch.tensor([1,2,3])
x[:,torch.tensor([True,False,True])]=9
x[torch.tensor([True,False,True])]=9
x=k; x[0]=1.7
x=k; x[0]=float('inf')
x=k; x[0]=float('nan')
x=k; x[0]=torch.tensor(1.7)
x=k; x[0]=True
x=k; x[[0]]=1.7
x=k; x[[0]]=torch.tensor(1.7)
x=u; x[0]=300
x=u; x[0]=-1
x=u; x[[0]]=300
x=u; x[x==0]=300
x=u; x[0]=torch.tensor(300)
x=u; x[x==0]=1.5
x=b; x[0]=2
x=b; x[x]=2
x=w; x[0]=1
x=w; x[:]=1
x=w; x[...]=1
x=w; x[[0]]=1
x=w; x[x>2]=1
x=w; x[None]=1
x=w; x[True]=1
x=y; x[0]=1
x=y; x[...]=1
x=y; x[:]=1
x=y; x[:,:]=1
x=y; x[[0]]=1
x=y; x[x>1]=1
x=y; x[0][0]=1
x=y; x[0,[1,2]]=5
x=y; x[:,[1,2]]=5
x[0]=v
x[[0]]=v
x[x>2]=v[0]
x[x>2]=v
x[5]=1
x[0,0,0]=1
x[[5]]=1
x['a']=1
x[True]=5
x[False]=5
x[None]=torch.ones(1,2,3)
x[...]=torch.ones(3)
x[()]=5
x=torch.tensor(3.); x[()]=5
x=torch.tensor(3.); x[...]=5
x=torch.tensor(3.); x[0]=5
x=torch.tensor(3.); x[None]=5
x=torch.tensor(3.); x[True]=5
x=torch.tensor(3.); x[torch.tensor(False)]=5
x=torch.zeros(1).expand(3); x[...]=5
x=torch.zeros(1).expand(3); x[0]=5
x=torch.zeros(1).expand(3); x[:]=torch.ones(3)
x=torch.arange(6); x[1:5]=x[0:4]
x=torch.arange(6); x[1:5]=x[0:4].float()
x=torch.arange(6); x[1:]=x[:1]
x=torch.arange(6); x[torch.tensor([1,2])]=x[0:2]
x=torch.arange(6); x[[0,0,1]]+=1
x=torch.arange(6); x[[0,0,1]]=torch.tensor([7,8,9])
x=torch.arange(6); x[x>3]+=1
x=torch.arange(6); x[::2]=torch.arange(3)
x=torch.arange(6); x[-1:]=9; x[10:]=7
x=torch.arange(6); x[torch.tensor([1,-1])]=torch.tensor([[1],[2]])
x=torch.arange(6); x[torch.tensor([1,0],dtype=torch.uint8)]=1
x=torch.arange(6); x[torch.tensor([1,0,1,0,1,1],dtype=torch.uint8)]=1
x=torch.arange(6); x[torch.tensor([1.])]=1
x=torch.zeros(2,3); x[[0,1],[0,1]]=torch.tensor([1.,2])
x=torch.zeros(2,3); x[[0,1],[0,1,2]]=torch.tensor([1.,2])
x=torch.zeros(2,3); x[:, [0,1]]=torch.tensor([1.,2,3])
x=torch.zeros(2,3); del x[0]
x=torch.zeros(2,3); x[0]=torch.zeros(0)
x=torch.zeros(2,3); x[2:]=torch.zeros(0,3)
x=torch.zeros(2,3); x[2:]=torch.zeros(5)
x=torch.arange(3); x[x]=1
x=torch.arange(3); x[x.clone()]=x
x=torch.arange(3); x[x>=0]=x
x=torch.arange(3); x[x>=0]=x[1]
x=torch.arange(3); x[:]=x
x=torch.arange(3); x[x[1:]]=7
x=torch.zeros(3,dtype=torch.int8); x[0]=-129
x=torch.zeros(3,dtype=torch.int8); x[0]=127.9
x=torch.zeros(3,dtype=torch.int8); x[0]=1e10
x=torch.zeros(3,dtype=torch.uint8); x[0]=-256
x=torch.zeros(3,dtype=torch.uint8); x[0]=-1.5
x=torch.zeros(3,dtype=torch.float16); x[0]=1e10
x=torch.zeros(3,dtype=torch.float32); x[0]=1e300
x=torch.zeros(3,dtype=torch.float32); x[0]=float('inf')
x=torch.zeros(3,dtype=torch.int64); x[0]=2**63
x=torch.zeros(3,dtype=torch.float32); x[0]=2**64
x=torch.zeros(3,dtype=torch.int32); x[0]=2**31
x=torch.zeros(3); x[torch.tensor(1)]=5
x=torch.zeros(3); x[torch.tensor([True,False,True])]=torch.tensor([5.])
x=torch.zeros(2,3); x[torch.tensor([True,False])]=torch.tensor([[5.,6,7]])
x=torch.zeros(2,3); x[torch.tensor([True,False])]=torch.tensor([[5.,6,7],[1,2,3]])
x=torch.zeros(2,3); x[torch.tensor([True,True])]=torch.tensor([[5.,6,7],[1,2,3]])
x=torch.zeros(2,3); x[torch.tensor([True,True])]=torch.tensor([[[5.,6,7],[1,2,3]]])
x=torch.zeros(2,3); x[torch.tensor([False,False])]=torch.tensor([5.,6])
x=torch.zeros(2,3); x[torch.tensor([False,False])]=torch.tensor([[5.,6,7]])
x=torch.zeros(2,3); x[torch.tensor([False,False])]=torch.tensor([[5.,6,7],[5,6,7]])
x=torch.zeros(2,3); x[[0,1],:]=v
x=torch.zeros(2,3); x[0,torch.tensor([True,False,True])]=v[0]
x=torch.zeros(2,3); x.index_put_((torch.tensor([0,0]),), torch.tensor(1.), accumulate=True)
x=torch.zeros(2,3); x.index_put_((None,torch.tensor([0,0])), torch.tensor(1.), accumulate=True)
x=torch.zeros(2,3); x.index_put_([torch.tensor([0,0]),torch.tensor([1,1])], torch.ones(2), True)
x=y; x.index_put_([torch.tensor([0,0])], torch.ones(3), True)
x=torch.zeros(2,3); x[torch.tensor([[0],[1]]),[0,2]]=torch.tensor([1.,2.])
x=torch.zeros(2,3); x[np.array([True,False])]=3
x=torch.zeros(2,3); x[[True,False]]=3
x=torch.zeros(2,3); x[[[0,1],[1,2]]]=3
x=torch.zeros(2,3); x[np.array([[0,1],[1,1]])]=3
x=torch.zeros(2,3); x[torch.tensor(0):torch.tensor(1), 1]=3
x=torch.zeros(2,3); x[...,-1]=3
x=torch.zeros(2,3); x[None,...,-1,None]=3
x=torch.zeros(2,3); x[None,[0],-1,None]=3
x=torch.arange(9.).reshape(3,3).clone(); x[:]=x.t()
x=torch.arange(9.).reshape(3,3).clone(); x.t()[1:]=x[:2]
x=torch.arange(8.); x[1::2]=x[::2]
x=torch.arange(8.); x[::2]=x[1:5]
x=torch.arange(9.).reshape(3,3).clone(); x[:]=x[:, :1]
x=torch.arange(9.).reshape(3,3).clone(); x[1]=x[:, 0]
x=torch.arange(9.).reshape(3,3).clone(); x[0]=x[:, 0]*2
x=torch.arange(6.); x[1:]=x[:-1]+1
x=torch.arange(6.); x[0], x[2] = x[2], x[0]
x=torch.arange(6.); q=x[2:]; x[3]=9; q[0]=7
x=torch.arange(6.).view(2,3); q=x.t(); q[0]=9; x.t_(); q[1]=5
x=y; x[0]=v*v
x=y; x[...]=w*w
x=y; x[:, 1]=v[:2]*x[0,0]
x=y; x[[1,0]]=w*w
x=y; x[x>3]=v[0]*v[1]
x=y; x[m.expand(2,3)]=torch.cat([v,v[:1]])
x=y; x[:, m]=v[:2]
x=y; x[:, m]=w[:, :2]
x=y; x.t()[1]=v[:2]
x=y; x[0]=x[1]
x=y; x[0,0]+=v[0]
"""
FUNCTIONS = r"""
torch.gather(y,1,torch.tensor([[0,2],[1,1]]))
y.gather(0,torch.tensor([[0,1,0]]))
torch.gather(y,1,torch.tensor([[5]]))
torch.gather(y,1,torch.tensor([[-1]]))
torch.gather(y,1,torch.tensor([0]))
torch.gather(y,1,torch.tensor([[0.]]))
torch.gather(y,1,torch.tensor([[0],[0],[0]]))
torch.gather(y,2,torch.tensor([[0]]))
torch.gather(torch.tensor(3.),0,torch.tensor(0))
torch.gather(y,1,torch.tensor([[0]],dtype=torch.int32))
z.scatter(1,idx,src)
z.scatter(0,idx,y)
z.scatter(1,idx,5.)
z.scatter(1,idx,5)
z.scatter(1,idx,src,reduce='add')
z.scatter(1,idx,src,reduce='multiply')
z.scatter(1,idx,3.,reduce='add')
z.clone().scatter_(1,idx,src)
z.clone().scatter_(1,idx,1.)
z.clone().scatter_(1,idx,value=1.)
z.clone().scatter_(1,torch.tensor([[0],[2]]),1)
z.scatter(1,torch.tensor([[5]]),1.)
z.scatter(1,torch.tensor([[0]]),torch.ones(1,1,dtype=torch.int64))
z.scatter(1,torch.tensor([[0,1,2,0]]),src)
z.scatter(1,torch.tensor([[0],[0],[0]]),1.)
torch.scatter(z,1,idx,y)
z.scatter_add(1,idx,src)
z.scatter_add(1,idx,y)
z.clone().scatter_add_(0,idx,src)
z.scatter_add(0,torch.tensor([[7]]),src)
z.scatter_reduce(1,idx,src,'sum')
z.scatter_reduce(1,idx,src,'prod')
z.scatter_reduce(1,idx,src,'mean')
z.scatter_reduce(1,idx,src,'amax')
z.scatter_reduce(1,idx,src,'amin')
z.scatter_reduce(1,idx,src,'amin',include_self=False)
z.scatter_reduce(1,idx,src,'foo')
z.scatter_reduce(1,idx,y,'sum')
z.scatter_reduce(1,idx,y,'amax',include_self=False)
z.scatter_reduce(1,idx,y,'mean',include_self=False)
z.scatter_reduce(1,idx,y,'prod',include_self=False)
torch.index_select(y,0,torch.tensor([1,0,1]))
y.index_select(1,torch.tensor([1]))
y.index_select(1,torch.tensor(1))
y.index_select(1,torch.tensor([5]))
y.index_select(1,torch.tensor([-1]))
y.index_select(1,torch.tensor([[1]]))
y.index_select(1,torch.tensor([1.]))
torch.tensor(5.).index_select(0,torch.tensor([0]))
z.index_add(0,torch.tensor([0,0]),y)
z.index_add(1,torch.tensor([0,0]),src[:,:2],alpha=2)
z.index_add(1,torch.tensor([0,0]),src)
z.index_add(0,torch.tensor([0,5]),src)
z.clone().index_add_(0,torch.tensor([0,1]),src)
z.index_copy(0,torch.tensor([1,0]),y)
z.clone().index_copy_(0,torch.tensor([1]),src[:1])
z.index_copy(0,torch.tensor([1]),src)
z.index_copy(0,torch.tensor([3]),src[:1])
y.index_fill(1,torch.tensor([0,2]),7)
y.index_fill(1,torch.tensor([0,2]),torch.tensor(7.))
y.index_fill(1,torch.tensor([0,5]),7)
y.index_fill(1,torch.tensor([-1]),7)
y.index_put((torch.tensor([0,1]),torch.tensor([1,2])),torch.tensor([9.,8.]))
y.index_put((torch.tensor([0]),),torch.tensor(1.),accumulate=True)
torch.index_put(y,(torch.tensor([0,0]),),torch.ones(3),accumulate=True)
y.index_put([torch.tensor([True,False])],torch.tensor(1.))
y.index_put((torch.tensor([0]),),1.)
torch.take(y,torch.tensor([0,5,2]))
torch.take(y,torch.tensor([[0,-1]]))
torch.take(y,torch.tensor([6]))
torch.take(y,torch.tensor([1.]))
torch.take_along_dim(y,torch.tensor([[0],[1]]),dim=1)
torch.take_along_dim(y,torch.tensor([0,4]))
torch.take_along_dim(y,torch.argsort(y,dim=1),1)
torch.take_along_dim(y,torch.tensor([0]),1)
z.clone().put_(torch.tensor([0,5]),torch.tensor([1.,2.]))
z.clone().put_(torch.tensor([0,0]),torch.tensor([1.,2.]),accumulate=True)
z.clone().put_(torch.tensor([0,0]),torch.tensor([1.]))
z.put(torch.tensor([0,0]),torch.tensor([1.,2.]))
torch.masked_select(y,y>2)
torch.masked_select(y,m)
y.masked_select(torch.tensor([1,0,1]))
z.masked_scatter(m,torch.arange(6.))
z.clone().masked_scatter_(z==0,torch.arange(6.))
z.masked_scatter(m,torch.arange(2.))
z.masked_scatter(m,y)
torch.nonzero(idx)
torch.nonzero(idx,as_tuple=True)
torch.nonzero(torch.tensor(0))
torch.nonzero(torch.tensor(5.))
torch.nonzero(torch.tensor(5.),as_tuple=True)
torch.argwhere(idx)
torch.where(y>2)
torch.where(m)
torch.select_scatter(z,v,0,1)
z.select_scatter(torch.ones(2),1,-1)
z.select_scatter(torch.ones(3),1,0)
torch.slice_scatter(z,torch.ones(2,2),1,0,2)
torch.slice_scatter(z,y[:1],0,1)
torch.slice_scatter(z,torch.ones(2,2),1,0,3,2)
torch.slice_scatter(z,torch.ones(2,2),1,0,3)
torch.diagonal_scatter(z,torch.ones(2))
torch.diagonal_scatter(z,torch.ones(2),1)
torch.diagonal_scatter(z,v[:2],1)
torch.diagonal_scatter(z,torch.ones(3),1)
z.index_fill(0,torch.tensor([0]),torch.ones(2))
z.clone().index_fill_(0,torch.tensor([0]),3)
y.index_select(0,torch.tensor([],dtype=torch.long))
torch.gather(y,1,torch.zeros(2,0,dtype=torch.long))
torch.index_select(y,0,torch.tensor([1,0],dtype=torch.int32))
torch.count_nonzero(y)
w.gather(1, idx)
(w * w)[idx[:, 0], idx[:, 1]]
w.scatter_reduce(1, idx, src, 'amax')
w.scatter_reduce(1, idx, w * w, 'amax')
w.scatter_reduce(1, idx, w * w, 'amin', include_self=False)
w.scatter_reduce(1, idx, w * w, 'prod')
(w - 1).scatter_reduce(1, idx, w - 1, 'prod')
w.scatter_reduce(1, idx, w * w, 'mean')
w.scatter_reduce(1, idx, w * w, 'mean', include_self=False)
w.scatter_reduce(1, idx, w * w, 'sum', include_self=False)
w.index_add(0, torch.tensor([1, 1]), w * w, alpha=3)
w.index_copy(1, torch.tensor([2]), v[:2].reshape(2, 1))
w.index_put((idx[0, :2], idx[0, 1:]), v[:2] * v[:2], accumulate=True)
w.put(torch.tensor([0, 5]), v[:2])
w.masked_scatter(m, v.repeat(2) * 3)
w.index_fill(1, torch.tensor([1]), v[0])
"""


@pytest.mark.parametrize("line", lines_of(READS))
def test_reading(line: str, oracle: types.ModuleType) -> None:
    expected = outcome(oracle, PREPARATION, line)
    actual = outcome(LAZYT, PREPARATION, line)
    assert same(expected, actual), f"{expected}\n{actual}"


@pytest.mark.parametrize("line", lines_of(WRITES))
def test_writing(line: str, oracle: types.ModuleType) -> None:
    expected = outcome(oracle, PREPARATION, line)
    actual = outcome(LAZYT, PREPARATION, line)
    assert same(expected, actual), f"{expected}\n{actual}"


@pytest.mark.parametrize("line", lines_of(FUNCTIONS))
def test_functions(line: str, oracle: types.ModuleType) -> None:
    expected = outcome(oracle, PREPARATION, line)
    actual = outcome(LAZYT, PREPARATION, line)
    assert same(expected, actual), f"{expected}\n{actual}"


# Negative indices that are not known when these are called.
STRICT = """
torch.index_select(y, 0, torch.tensor([1]) * -1)
y.index_select(1, torch.tensor([1]) * -1)
y.index_add(0, torch.tensor([1]) * -1, y[:1])
y.index_copy(1, torch.tensor([1]) * -1, y[:, :1])
"""


@pytest.mark.parametrize("line", lines_of(STRICT))
def test_negative_indices_are_refused_when_they_are_computed(
    line: str, oracle: types.ModuleType
) -> None:
    kind, _, text = outcome(oracle, PREPARATION, f"({line}).tolist()")
    assert kind == "error", text
    kind, name, text = outcome(LAZYT, PREPARATION, f"({line}).tolist()")
    assert (kind, name) == ("error", "IndexError") and text.startswith("index -1 is out of bounds")
