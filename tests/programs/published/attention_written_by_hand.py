# After "Neural Machine Translation by Jointly Learning to Align and Translate" (Bahdanau, Cho and
# Bengio, 2014), as tutorials write it: one score at a time, read back while the sentence is made.
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
sentences = ["ich mochte ein bier P", "S i want a beer", "i want a beer E"]
words = sorted(set(" ".join(sentences).split()))
index = {w: i for i, w in enumerate(words)}
classes, hidden = len(words), 16


def one_hot(sentence):
    return torch.FloatTensor(np.array([np.eye(classes)[[index[n] for n in sentence.split()]]]))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.RNN(input_size=classes, hidden_size=hidden)
        self.decode = nn.RNN(input_size=classes, hidden_size=hidden)
        self.attn = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden * 2, classes)

    def forward(self, source, state, target):
        source, target = source.transpose(0, 1), target.transpose(0, 1)
        encoded, state = self.encode(source, state)
        steps = len(target)
        weights, result = [], torch.empty([steps, 1, classes])
        for i in range(steps):
            seen, state = self.decode(target[i].unsqueeze(0), state)
            attention = self.weights_of(seen, encoded)
            weights.append(attention.squeeze().data.numpy())
            context = attention.bmm(encoded.transpose(0, 1)).squeeze(0)
            result[i] = self.out(torch.cat((seen.squeeze(0), context), 1))
        return result.transpose(0, 1).squeeze(0), weights

    def weights_of(self, seen, encoded):
        scores = torch.zeros(len(encoded))
        for i in range(len(encoded)):
            scores[i] = torch.dot(seen.squeeze(0).view(-1), self.attn(encoded[i]).view(-1))
        return F.softmax(scores, dim=0).view(1, 1, -1)


source, given = one_hot(sentences[0]), one_hot(sentences[1])
wanted = torch.LongTensor([index[n] for n in sentences[2].split()])
start = torch.zeros(1, 1, hidden)
model = Attention()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(30):
    optimizer.zero_grad()
    output, _ = model(source, start, given)
    loss = nn.CrossEntropyLoss()(output, wanted)
    if (epoch + 1) % 6 == 0:
        print("Epoch:", "%04d" % (epoch + 1), "cost =", "{:.5f}".format(loss))
    loss.backward()
    optimizer.step()

model.eval()
pad = "S " + " ".join(["P"] * (len(words) and 4))
predict, weights = model(source, start, one_hot(pad))
best = predict.data.max(1, keepdim=True)[1]
print(sentences[0], "->", [words[n.item()] for n in best.squeeze()])
print(np.round(np.array(weights), 3))
