# After "Conditional Image Synthesis with Auxiliary Classifier GANs" (Odena, Olah and Shlens, 2016):
# upsampling and batch norm make images of a class, a network with two heads judges both.
import numpy as np
import torch
import torch.nn as nn
from torch.autograd import Variable

torch.manual_seed(3)
np.random.seed(3)
CLASSES, LATENT, SIDE, BATCH = 4, 10, 8, 16


def initialise(m):
    name = m.__class__.__name__
    if name.find("Conv") != -1:
        torch.nn.init.normal_(m.weight.data, 0.0, 0.02)
    elif name.find("BatchNorm2d") != -1:
        torch.nn.init.normal_(m.weight.data, 1.0, 0.02)
        torch.nn.init.constant_(m.bias.data, 0.0)


class Generator(nn.Module):
    def __init__(self):
        super(Generator, self).__init__()
        self.label = nn.Embedding(CLASSES, LATENT)
        self.first = nn.Sequential(nn.Linear(LATENT, 16 * (SIDE // 4) ** 2))
        self.rest = nn.Sequential(
            nn.BatchNorm2d(16),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(16, 16, 3, stride=1, padding=1),
            nn.BatchNorm2d(16, 0.8),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(16, 8, 3, stride=1, padding=1),
            nn.BatchNorm2d(8, 0.8),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(8, 1, 3, stride=1, padding=1),
            nn.Tanh(),
        )

    def forward(self, noise, labels):
        out = self.first(torch.mul(self.label(labels), noise))
        return self.rest(out.view(out.shape[0], 16, SIDE // 4, SIDE // 4))


class Discriminator(nn.Module):
    def __init__(self):
        super(Discriminator, self).__init__()

        def block(inputs, outputs, bn=True):
            layers = [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
            layers.append(nn.Dropout2d(0.25))
            return layers + [nn.BatchNorm2d(outputs, 0.8)] if bn else layers

        self.blocks = nn.Sequential(*block(1, 8, bn=False), *block(8, 16), *block(16, 32))
        self.adversarial = nn.Sequential(nn.Linear(32, 1), nn.Sigmoid())
        self.auxiliary = nn.Sequential(nn.Linear(32, CLASSES), nn.Softmax(dim=1))

    def forward(self, image):
        out = self.blocks(image)
        out = out.view(out.shape[0], -1)
        return self.adversarial(out), self.auxiliary(out)


generator, discriminator = Generator(), Discriminator()
generator.apply(initialise)
discriminator.apply(initialise)
adversarial_loss, auxiliary_loss = torch.nn.BCELoss(), torch.nn.CrossEntropyLoss()
g_step = torch.optim.Adam(generator.parameters(), lr=0.0002, betas=(0.5, 0.999))
d_step = torch.optim.Adam(discriminator.parameters(), lr=0.0002, betas=(0.5, 0.999))
patterns = torch.randn(CLASSES, 1, SIDE, SIDE)
FloatTensor, LongTensor = torch.FloatTensor, torch.LongTensor
for i in range(5):
    labels = Variable(LongTensor(np.random.randint(0, CLASSES, BATCH)))
    images = Variable((patterns[labels] + 0.1 * torch.randn(BATCH, 1, SIDE, SIDE)).type(FloatTensor))
    valid = Variable(FloatTensor(BATCH, 1).fill_(1.0), requires_grad=False)
    fake = Variable(FloatTensor(BATCH, 1).fill_(0.0), requires_grad=False)

    g_step.zero_grad()
    z = Variable(FloatTensor(np.random.normal(0, 1, (BATCH, LATENT))))
    wanted = Variable(LongTensor(np.random.randint(0, CLASSES, BATCH)))
    made = generator(z, wanted)
    validity, guessed = discriminator(made)
    g_loss = 0.5 * (adversarial_loss(validity, valid) + auxiliary_loss(guessed, wanted))
    g_loss.backward()
    g_step.step()

    d_step.zero_grad()
    real, real_guess = discriminator(images)
    real_loss = (adversarial_loss(real, valid) + auxiliary_loss(real_guess, labels)) / 2
    unreal, unreal_guess = discriminator(made.detach())
    unreal_loss = (adversarial_loss(unreal, fake) + auxiliary_loss(unreal_guess, wanted)) / 2
    d_loss = (real_loss + unreal_loss) / 2
    guesses = np.concatenate([real_guess.data.cpu().numpy(), unreal_guess.data.cpu().numpy()])
    truth = np.concatenate([labels.data.cpu().numpy(), wanted.data.cpu().numpy()])
    accuracy = np.mean(np.argmax(guesses, axis=1) == truth)
    d_loss.backward()
    d_step.step()
    print(
        "[Batch %d] [D loss: %f, acc: %d%%] [G loss: %f]"
        % (i, d_loss.item(), 100 * accuracy, g_loss.item())
    )
generator.eval()
grid = np.array([c for _ in range(2) for c in range(CLASSES)])
print(generator(Variable(torch.ones(8, LATENT)), Variable(LongTensor(grid))).data[:, 0, 0, :3])
