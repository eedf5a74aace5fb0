"""ODIN on a small convolutional network: forward and backward pass written as loops over single numbers."""

import numpy as np
import torch
from torch import nn

IMAGE = (1, 2, 3)


def network():
    """Convolution, batch norm, ReLU, linear, in float64; images (B, 1, 2, 3), four classes."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        net = nn.Sequential(nn.Conv2d(1, 3, 2, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 4))
        for value in (net[1].weight, net[1].bias, net[1].running_mean):
            nn.init.normal_(value)
        nn.init.uniform_(net[1].running_var, 0.5, 2.0)
    return net.double()


NETWORK = network()


def odin(train, labels, rows, temperature=1000.0, epsilon=0.0014):
    scores = []
    for row in rows:
        image = row.reshape(IMAGE[1:])
        logits, backward = _forward(image)
        p = _softmax(logits, temperature)
        wanted = np.zeros(len(p))
        wanted[int(np.argmax(logits))] = 1.0
        step = backward((wanted - p) / temperature)  # gradient of log p_y
        scores.append(max(_softmax(_forward(image + epsilon * np.sign(step))[0], temperature)))
    return np.array(scores)


def _softmax(logits, temperature):
    e = np.exp((logits - logits.max()) / temperature)
    return e / e.sum()


def _forward(image):
    """Logits of one image (H, W), and the function from their gradient to the image's."""
    state = {key: value.double().numpy() for key, value in NETWORK.state_dict().items()}
    height, width = image.shape
    padded = np.zeros((height + 2, width + 2))
    padded[1:-1, 1:-1] = image
    gain = state["1.weight"] / np.sqrt(state["1.running_var"] + 1e-5)
    hidden = np.zeros((3, height + 1, width + 1))
    for channel, i, j in np.ndindex(hidden.shape):
        patch = padded[i : i + 2, j : j + 2]
        value = (patch * state["0.weight"][channel, 0]).sum() + state["0.bias"][channel]
        hidden[channel, i, j] = gain[channel] * (value - state["1.running_mean"][channel]) + state["1.bias"][channel]
    logits = state["4.weight"] @ np.maximum(hidden, 0).ravel() + state["4.bias"]

    def backward(slope):
        down = (state["4.weight"].T @ slope).reshape(hidden.shape) * (hidden > 0)
        gradient = np.zeros_like(padded)
        for channel, i, j in np.ndindex(hidden.shape):
            gradient[i : i + 2, j : j + 2] += down[channel, i, j] * gain[channel] * state["0.weight"][channel, 0]
        return gradient[1:-1, 1:-1]

    return logits, backward
