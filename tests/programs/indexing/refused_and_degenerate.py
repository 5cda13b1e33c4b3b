import torch
def tell(*fs):
    for f in fs:
        try:
            print(f())
        except Exception as e:
            print(type(e).__name__ + ":", str(e).split("\n")[0])

def put(key, value):
    x = torch.arange(6.).view(2, 3)
    x[key] = value
    return x
i = torch.tensor([0, 1])
tell(lambda: put(True, torch.tensor(7)), lambda: put(True, torch.tensor([1, 2, 3])), lambda: put(False, torch.ones(5)), lambda: put(False, 3), lambda: put(True, torch.ones(2)))
tell(lambda: put(i, torch.tensor([1, 2])), lambda: put(i, torch.tensor([1, 2, 3])), lambda: put((i, i), torch.tensor(1)), lambda: put((slice(None), i), torch.ones(7)))
x = torch.arange(12.).view(3, 4)
tell(lambda: x.index_select(0, torch.tensor([3])), lambda: x.index_select(1, torch.tensor([4])), lambda: x.index_select(0, torch.tensor([-1], dtype=torch.int32)), lambda: x[0].index_select(0, torch.tensor([4])))
tell(lambda: x.gather(0, torch.tensor([[3]], dtype=torch.int32)), lambda: x.gather(0, torch.empty(0, dtype=torch.int64)), lambda: x.masked_select(torch.tensor([True, False])), lambda: x.masked_fill(torch.ones(4, dtype=torch.uint8), 0))
z = torch.zeros(3, 4)
tell(lambda: z.index_add(0, torch.tensor([0]), torch.ones(1, 3)), lambda: z.index_add(0, torch.tensor([[0]]), torch.ones(1, 4)), lambda: z.index_add(0, torch.tensor([0, 1]), torch.ones(1, 4)))
tell(lambda: z.index_copy(0, torch.tensor([0]), torch.ones(1, 3)), lambda: z.index_copy(1, torch.tensor([0]), torch.ones(2, 1)), lambda: z[:, 0].index_copy(0, torch.tensor([0]), torch.tensor(1.)), lambda: z.index_copy(0, torch.tensor([0]), torch.ones(1, 4).long()))
tell(lambda: torch.tensor(3.).flip(0), lambda: z[0].masked_scatter(z[0] == 0, torch.ones(4).long()), lambda: z[0].masked_fill_(z[0] == 0, torch.ones(1)))
