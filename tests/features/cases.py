"""A model that several of these tests build on."""

from torch import nn


class Small(nn.Module):
    """Convolution, batch norm, dropout, two linear layers: everything that goes wrong in train mode."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.norm = nn.BatchNorm2d(5)
        self.drop = nn.Dropout(0.5)
        self.hidden = nn.Linear(5, 7)
        self.fc = nn.Linear(7, 4)

    def body(self, x):
        x = self.drop(self.norm(self.conv(x)).relu().mean(dim=(2, 3)))
        return self.hidden(x).relu()

    def forward(self, x):
        return self.fc(self.body(x))
