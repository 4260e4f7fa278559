# One deep VAE in PyTorch, for bench/vae.R to compare with:
#   python3 vae_torch.py THREADS BATCH ROWS EPOCHS
# Prints the seconds of each epoch. The model, the batches and the optimiser are those of
# vae() with its defaults: 784 features, layers of 512 and 256, 200 latent dimensions.
import sys
import time

import torch
from torch import nn

threads, batch, rows, epochs = (int(a) for a in sys.argv[1:5])
torch.set_num_threads(threads)
torch.manual_seed(1)
x = torch.rand(rows, 784)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(256, 200), nn.Linear(256, 200)
        self.decoder = nn.Sequential(nn.Linear(200, 256), nn.ReLU(), nn.Linear(256, 512), nn.ReLU(),
                                     nn.Linear(512, 784))
        self.log_sigma2 = nn.Parameter(torch.zeros(()))

    def loss(self, x):
        h = self.encoder(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        error = (x - self.decoder(z)).square().sum(1)
        log_density = -(error / self.log_sigma2.exp() + 784 * (self.log_sigma2 + 1.8378770664093453)) / 2
        kl = (log_variance.exp() + mean.square() - 1 - log_variance).sum(1) / 2
        return (kl - log_density).mean()


model = VAE()
optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(epochs):
    start = time.time()
    order = torch.randperm(rows)
    for i in range(0, rows, batch):
        optimiser.zero_grad(set_to_none=True)
        model.loss(x[order[i:i + batch]]).backward()
        optimiser.step()
    print(time.time() - start, flush=True)
