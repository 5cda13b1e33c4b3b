import warnings, torch
def warned(f):
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter("always")
        f()
    print([(x.category.__name__, str(x.message).split(" (Triggered")[0]) for x in w])
warned(lambda: torch.ones(1).std())
warned(lambda: torch.ones(2, 1).var(1))
warned(lambda: torch.var_mean(torch.ones(2), correction=2))
warned(lambda: torch.ones(2).std())
warned(lambda: torch.ones(2).new_tensor(torch.ones(1)))
warned(lambda: torch.tensor(torch.ones(1)))
warned(lambda: (torch.ones(2, requires_grad=True) * 2).grad)
