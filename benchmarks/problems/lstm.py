"""GradBench's `lstm` (from ADBench): the loss of a recurrent network with diagonal weights that predicts a text.

Per layer there are four weights and four biases of b bits: forget, ingate, outgate, change; rows 2i and 2i+1 of
`main`. `extra` holds the weights of the input, of the output, and the output's biases; `state` a hidden and a cell
row per layer. The loss of a character is −Σ y (p − log(2 + Σ exp p)), its mean is taken over the text and the bits.
"""

import math

import numpy as np

from wengert import scan

NAME = "lstm"
WHAT = "gradient"
ARGNUMS = (0, 1)
SIZES = {
    "table": {"layers": 2, "characters": 1024, "bits": 14},
    "quick": {"layers": 2, "characters": 64, "bits": 14},
    "tiny": {"layers": 2, "characters": 5, "bits": 3},
}
LOOPS = ("gate", "by_loops")
WITHOUT = {"mygrad": "one call takes seconds", "torch.compile": "unrolls a thousand steps and compiles for minutes"}


def inputs(seed, layers, characters, bits):
    rng = np.random.default_rng(seed)
    main, extra = rng.uniform(0, 1, (2 * layers, 4 * bits)), rng.uniform(0, 1, (3, bits))
    state = rng.uniform(0, 1, (2 * layers, bits))
    return main, extra, state, rng.integers(0, 2, (characters, bits)).astype(np.float64)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def function(main, extra, state, sequence):
    layers, (characters, bits) = len(main) // 2, sequence.shape

    def split(row):
        return [row[k * bits : (k + 1) * bits] for k in range(4)]

    def step(carry, characters):
        here, following = characters
        x, states = here * extra[0], []
        for layer in range(layers):
            (forget, ingate, outgate, change), biases = split(main[2 * layer]), split(main[2 * layer + 1])
            hidden, cell = carry[2 * layer], carry[2 * layer + 1]
            remembered = cell * sigmoid(x * forget + biases[0])
            learned = sigmoid(hidden * ingate + biases[1]) * np.tanh(hidden * change + biases[3])
            cell = remembered + learned
            x = sigmoid(x * outgate + biases[2]) * np.tanh(cell)
            states += [x, cell]
        prediction = x * extra[1] + extra[2]
        normalised = prediction - np.log(2.0 + np.sum(np.exp(prediction)))
        return np.stack(states), np.sum(following * normalised)

    _, losses = scan(step, state, (sequence[:-1], sequence[1:]))
    return -np.sum(losses) / ((characters - 1) * bits)


def gate(x):
    return 1.0 / (1.0 + math.exp(-x))


def by_loops(main, extra, state, sequence):
    layers, (characters, b) = len(main) // 2, sequence.shape
    steps = characters - 1
    hidden, cell = np.empty((steps + 1, layers, b)), np.empty((steps + 1, layers, b))
    gates, prediction = np.empty((steps, layers, 5, b)), np.empty((steps, b))
    for layer in range(layers):
        for i in range(b):
            hidden[0, layer, i], cell[0, layer, i] = state[2 * layer, i], state[2 * layer + 1, i]
    for t in range(steps):
        for layer in range(layers):
            w, bias = main[2 * layer], main[2 * layer + 1]
            for i in range(b):
                x = sequence[t, i] * extra[0, i] if layer == 0 else hidden[t + 1, layer - 1, i]
                h = hidden[t, layer, i]
                forget = gate(x * w[i] + bias[i])
                ingate = gate(h * w[b + i] + bias[b + i])
                outgate = gate(x * w[2 * b + i] + bias[2 * b + i])
                change = math.tanh(h * w[3 * b + i] + bias[3 * b + i])
                c = cell[t, layer, i] * forget + ingate * change
                squashed = math.tanh(c)
                cell[t + 1, layer, i], hidden[t + 1, layer, i] = c, outgate * squashed
                kept = gates[t, layer]
                kept[0, i], kept[1, i], kept[2, i], kept[3, i], kept[4, i] = forget, ingate, outgate, change, squashed
        for i in range(b):
            prediction[t, i] = hidden[t + 1, layers - 1, i] * extra[1, i] + extra[2, i]
    main_bar, extra_bar = np.zeros(main.shape), np.zeros(extra.shape)
    hidden_bar, cell_bar, x_bar = np.zeros((layers, b)), np.zeros((layers, b)), np.empty(b)
    scale = -1.0 / (steps * b)
    for t in range(steps - 1, -1, -1):
        total, ones = 2.0, 0.0
        for i in range(b):
            total += math.exp(prediction[t, i])
            ones += sequence[t + 1, i]
        for i in range(b):
            ct = scale * (sequence[t + 1, i] - ones * math.exp(prediction[t, i]) / total)
            extra_bar[1, i] += ct * hidden[t + 1, layers - 1, i]
            extra_bar[2, i] += ct
            x_bar[i] = ct * extra[1, i]
        for layer in range(layers - 1, -1, -1):
            w, w_bar, bias_bar = main[2 * layer], main_bar[2 * layer], main_bar[2 * layer + 1]
            kept = gates[t, layer]
            for i in range(b):
                x = sequence[t, i] * extra[0, i] if layer == 0 else hidden[t + 1, layer - 1, i]
                h = hidden[t, layer, i]
                forget, ingate, outgate, change, squashed = kept[0, i], kept[1, i], kept[2, i], kept[3, i], kept[4, i]
                h_ct = hidden_bar[layer, i] + x_bar[i]
                c_ct = cell_bar[layer, i] + h_ct * outgate * (1.0 - squashed * squashed)
                outgate_ct = h_ct * squashed * outgate * (1.0 - outgate)
                forget_ct = c_ct * cell[t, layer, i] * forget * (1.0 - forget)
                ingate_ct = c_ct * change * ingate * (1.0 - ingate)
                change_ct = c_ct * ingate * (1.0 - change * change)
                w_bar[i] += forget_ct * x
                w_bar[b + i] += ingate_ct * h
                w_bar[2 * b + i] += outgate_ct * x
                w_bar[3 * b + i] += change_ct * h
                bias_bar[i] += forget_ct
                bias_bar[b + i] += ingate_ct
                bias_bar[2 * b + i] += outgate_ct
                bias_bar[3 * b + i] += change_ct
                cell_bar[layer, i] = c_ct * forget
                hidden_bar[layer, i] = ingate_ct * w[b + i] + change_ct * w[3 * b + i]
                x_bar[i] = forget_ct * w[i] + outgate_ct * w[2 * b + i]
        for i in range(b):
            extra_bar[0, i] += x_bar[i] * sequence[t, i]
    return main_bar, extra_bar
