#!/usr/bin/env python3
"""Benchmark problems C6 to C9 without this library: normal equations, full second derivatives, NumPy alone. Its numbers are
those that tests/test_*_table.c and docs/benchmarks.md compare with.

usage: check_tables.py [c6] [c7] [c8] [c9]      (default c6 c7 c8; c9 takes a minute for each rate)
"""
import pathlib
import sys

import numpy as np

FOLDER = pathlib.Path(__file__).parents[1] / "examples" / "data"


def load(name):
    return np.load(FOLDER / f"{name}.npy", allow_pickle=False).astype(float)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def standardise(x, rows):
    return (x - x[:rows].mean(0)) / x[:rows].std(0)


def ridge(x, y, v, z, theta):
    second = x.T @ x / len(y) + np.exp(theta) * np.eye(x.shape[1])
    w = np.linalg.solve(second, x.T @ y / len(y))
    residual = v @ w - z
    u = np.linalg.solve(second, v.T @ residual * 2 / len(z))
    print(f"  theta {theta:2d}: L = {np.mean(residual ** 2):.13g}, dL/dtheta = {-np.exp(theta) * w @ u:.13g}")


def c6():
    x, y, order = load("diabetes_data"), load("diabetes_target"), load("diabetes_split").astype(int)
    x = x / np.sqrt((x ** 2).sum(1, keepdims=True))
    for theta in (1, 0, -3):
        ridge(x[order[:296]], y[order[:296]], x[order[296:]], y[order[296:]], theta)


def c7():
    x, y = standardise(load("diabetes_data"), 300), load("diabetes_target")
    y = y - y[:300].mean()
    for theta in (0, -2, -5):
        ridge(x[:300], y[:300], x[300:], y[300:], theta)


class Logistic:
    """Loss (1/n) sum log(1 + e^z) - t z + sum e^theta w^2 / 2 of the first 380 rows; judged by the others."""

    rate = 0.5

    def __init__(self):
        x, t = standardise(load("breast_cancer_data"), 380), load("breast_cancer_target")
        self.x, self.t, self.v, self.s = x[:380], t[:380], x[380:], t[380:]
        self.strength = np.exp(np.full(30, -4.0))

    def slopes(self, w):
        p = sigmoid(self.x @ w)
        second = (self.x * (p * (1 - p))[:, None]).T @ self.x / len(p) + np.diag(self.strength)
        return self.x.T @ (p - self.t) / len(p) + self.strength * w, second

    def judged(self, w):
        z = self.v @ w
        return np.mean(np.logaddexp(0, z) - self.s * z), self.v.T @ (sigmoid(z) - self.s) / len(z)

    def unrolled(self, steps):
        w, moved = np.zeros(30), np.zeros((30, 30))
        for _ in range(steps):
            g, second = self.slopes(w)
            moved = moved - self.rate * (second @ moved + np.diag(self.strength * w))
            w = w - self.rate * g
        return moved.T @ self.judged(w)[1]


def conjugate_gradients(second, v, steps):
    u, r = np.zeros_like(v), v.copy()
    p = r.copy()
    for _ in range(steps):
        a = r @ r / (p @ second @ p)
        u, left = u + a * p, r - a * (second @ p)
        p, r = left + (left @ left) / (r @ r) * p, left
    return u


def c8():
    problem, w = Logistic(), np.zeros(30)
    for _ in range(40):
        g, second = problem.slopes(w)
        w = w - np.linalg.solve(second, g)
    second = problem.slopes(w)[1]
    loss, v = problem.judged(w)
    exact = -problem.strength * w * np.linalg.solve(second, v)
    print(f"  L_val = {loss:.10g}, norm of its derivative {np.linalg.norm(exact):.10g}")

    def tell(name, found):
        print(f"  {name}: {np.linalg.norm(found - exact) / np.linalg.norm(exact):.10g}")

    tell("identity", -problem.strength * w * v)
    for terms in (1, 10, 30, 100):
        u = v
        for _ in range(terms - 1):
            u = v + u - problem.rate * (second @ u)
        tell(f"Neumann, {terms}", -problem.strength * w * problem.rate * u)
    for steps in (1, 5, 10, 20):
        tell(f"CG, {steps}", -problem.strength * w * conjugate_gradients(second, v, steps))
    for steps in (10, 100, 1000):
        tell(f"unrolled, {steps}", problem.unrolled(steps))


class Cleaning:
    """Loss (1/n) sum c_i l_i(w) + 1e-3 |w|^2 / 2 of softmax regression, c_i = sigmoid(trust_i)."""

    def __init__(self, rate):
        x, t = load("digits_data") / 16, load("digits_target").astype(int)
        x = np.hstack([x, np.ones((len(x), 1))])
        self.x, self.v, self.e = x[:800], x[800:1200], x[1200:]
        self.judge, self.test = t[800:1200], t[1200:]
        state, drawn = 12345, []
        for _ in range(1600):
            state = (1664525 * state + 1013904223) % 2 ** 32
            drawn.append(state >> 8)
        self.t = np.array([drawn[800 + i] % 10 if drawn[i] % 100 < rate else t[i] for i in range(800)])
        self.wrong = self.t != t[:800]

    @staticmethod
    def errors(x, t, w):
        """Probabilities less one at the right class; mean misfit."""
        z = x @ w
        z = z - np.log(np.exp(z).sum(1, keepdims=True))
        p = np.exp(z)
        p[np.arange(len(t)), t] -= 1
        return p, -z[np.arange(len(t)), t].mean()

    def second(self, w, c):
        p, size = self.errors(self.x, self.t, w)[0], w.size
        p[np.arange(800), self.t] += 1
        h = np.zeros(w.shape + w.shape)
        for a in range(10):
            for b in range(10):
                h[:, a, :, b] = (self.x * (c * p[:, a] * ((a == b) - p[:, b]) / 800)[:, None]).T @ self.x
        return h.reshape(size, size) + 1e-3 * np.eye(size)

    def fit(self, c, w):
        for _ in range(50):
            g = self.x.T @ (c[:, None] * self.errors(self.x, self.t, w)[0]) / 800 + 1e-3 * w
            if np.linalg.norm(g) < 1e-14:
                break
            w = w - np.linalg.solve(self.second(w, c), g.ravel()).reshape(w.shape)
        return w

    def accuracy(self, c):
        return (np.argmax(self.e @ self.fit(c, np.zeros((65, 10))), 1) == self.test).mean()


def c9(rate):
    problem = Cleaning(rate)
    trust, m, v = np.zeros(800), np.zeros(800), np.zeros(800)
    w = np.zeros((65, 10))
    for k in range(1, 151):
        c = sigmoid(trust)
        w = problem.fit(c, w)
        errors, loss = problem.errors(problem.v, problem.judge, w)
        u = np.linalg.solve(problem.second(w, c), (problem.v.T @ errors / 400).ravel()).reshape(w.shape)
        h = -c * (1 - c) * ((problem.x @ u) * problem.errors(problem.x, problem.t, w)[0]).sum(1) / 800
        m, v = 0.9 * m + 0.1 * h, 0.999 * v + 0.001 * h * h
        trust = trust - 0.2 * (m / (1 - 0.9 ** k)) / (np.sqrt(v / (1 - 0.999 ** k)) + 1e-8)
        if k in (1, 10, 150):
            print(f"  step {k}: L_val = {loss:.10g}")
    c, wrong = sigmoid(trust), problem.wrong
    shares = [problem.accuracy(x) for x in (np.ones(800), 1.0 * ~wrong, c)]
    f1 = 2 * (wrong & (c < 0.5)).sum() / (wrong.sum() + (c < 0.5).sum())
    print(f"  rate {rate}: {wrong.sum()} wrong; all {shares[0]:.10g}, true {shares[1]:.10g}, "
          f"cleaned {shares[2]:.10g}, F1 {f1:.10g}")


for name in sys.argv[1:] or ["c6", "c7", "c8"]:
    print(name.upper())
    if name == "c9":
        for percent in (50, 70, 90):
            c9(percent)
    else:
        {"c6": c6, "c7": c7, "c8": c8}[name]()
