import sys, threading, torch
sys.setswitchinterval(1e-6)
whole, rows, cells, masked = torch.zeros(1000), torch.zeros(10, 7), torch.zeros(10, 3), torch.zeros(20, 2)
def fill(k):
    for i in range(40):
        whole[k * 100:(k + 1) * 100] += 1
        rows[k].add_(1)
        rows[k, 2:4].mul_(2 if i < 5 else 1)
        cells[[k], [k % 3]] = cells[k, k % 3] + 1
        masked[torch.arange(20) % 10 == k] += 1
for again in range(2):
    threads = [threading.Thread(target=fill, args=(k,)) for k in range(10)]
    [t.start() for t in threads]; [t.join() for t in threads]
    print(whole.min(), whole.max(), rows[0], torch.equal(rows, rows[:1].expand(10, 7)), cells.sum(0), masked.sum())
sys.setswitchinterval(5e-3)
