import torch
import torch.backends.cudnn as cudnn
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.cuda.manual_seed_all(3)
cudnn.deterministic, cudnn.benchmark = True, False
print(device, torch.backends.cudnn.deterministic, torch.backends.mps.is_available(), torch.cuda.device_count())
best = torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"
net = torch.nn.Linear(2, 2).to(best)
x = torch.ones(1, 2).to(device, non_blocking=True)
print(f"Using {best} device", net(x).device, next(net.parameters()).device, x.is_cuda, x.to("cpu") is x, x.cpu() is x)
for refused in (lambda: x.cuda(), lambda: net.cuda(), lambda: x.to("cuda"), lambda: torch.cuda.get_device_name(0)):
    try:
        refused()
    except AssertionError as e:
        print(str(e).splitlines()[0])  # what is missing here follows
