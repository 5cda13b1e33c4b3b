# After PyTorch's tutorial on classifying names with a character-level RNN.
import torch, random, string, math, time, unicodedata
import torch.nn as nn
from torch.autograd import Variable
random.seed(1); torch.manual_seed(1)
all_letters = string.ascii_letters + " .,;'-"
n_letters = len(all_letters)
def unicodeToAscii(s):
    return ''.join(c for c in unicodedata.normalize('NFD', s) if unicodedata.category(c) != 'Mn' and c in all_letters)
category_lines = {"Italian": [unicodeToAscii(x) for x in "Rossi Ferrari Russo Bianchi Colombo Ricci Marino Greco".split()], "Japanese": "Sato Suzuki Takahashi Tanaka Watanabe Ito Yamamoto".split(), "Dutch": "Jansen deVries vandenBerg Bakker Visser Smit Meijer".split()}
all_categories = list(category_lines); n_categories = len(all_categories)
def letterToIndex(letter): return all_letters.find(letter)
def lineToTensor(line):
    tensor = torch.zeros(len(line), 1, n_letters)
    for li, letter in enumerate(line):
        tensor[li][0][letterToIndex(letter)] = 1
    return tensor
class RNN(nn.Module):
    def __init__(self, input_size, hidden_size, output_size):
        super(RNN, self).__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
        self.i2o = nn.Linear(input_size + hidden_size, output_size)
        self.softmax = nn.LogSoftmax(dim=1)
    def forward(self, input, hidden):
        combined = torch.cat((input, hidden), 1)
        hidden = self.i2h(combined)
        output = self.i2o(combined)
        output = self.softmax(output)
        return output, hidden
    def initHidden(self):
        return Variable(torch.zeros(1, self.hidden_size))
rnn = RNN(n_letters, 32, n_categories)
def categoryFromOutput(output):
    top_n, top_i = output.data.topk(1)
    category_i = top_i[0][0]
    return all_categories[category_i], category_i
def randomChoice(l): return l[random.randint(0, len(l) - 1)]
def randomTrainingExample():
    category = randomChoice(all_categories)
    line = randomChoice(category_lines[category])
    category_tensor = Variable(torch.LongTensor([all_categories.index(category)]))
    line_tensor = Variable(lineToTensor(line))
    return category, line, category_tensor, line_tensor
criterion = nn.NLLLoss()
learning_rate = 0.01
def train(category_tensor, line_tensor):
    hidden = rnn.initHidden()
    rnn.zero_grad()
    for i in range(line_tensor.size()[0]):
        output, hidden = rnn(line_tensor[i], hidden)
    loss = criterion(output, category_tensor)
    loss.backward()
    for p in rnn.parameters():
        p.data.add_(p.grad.data, alpha=-learning_rate)
    return output, loss.item()
current_loss = 0
for iter in range(1, 81):
    category, line, category_tensor, line_tensor = randomTrainingExample()
    output, loss = train(category_tensor, line_tensor)
    current_loss += loss
    if iter % 20 == 0:
        guess, guess_i = categoryFromOutput(output)
        correct = 'Y' if guess == category else 'N (%s)' % category
        print('%d %d%% %.4f %s / %s %s' % (iter, iter * 100 / 80, loss, line, guess, correct))
confusion = torch.zeros(n_categories, n_categories)
for c in all_categories:
    for l in category_lines[c]:
        h = rnn.initHidden()
        for t in lineToTensor(l): o, h = rnn(t, h)
        confusion[all_categories.index(c)][categoryFromOutput(o)[1]] += 1
for i in range(n_categories):
    confusion[i] = confusion[i] / confusion[i].sum()
print(confusion, current_loss / 80)
