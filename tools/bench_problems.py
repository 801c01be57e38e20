"""The end of Lotka-Volterra in `benches/src/lib.rs`, by Taylor series of order 40 in 40-digit arithmetic (mpmath).

Two step sizes must agree in all digits printed.
"""

from mpmath import mp, mpf, nstr

mp.dps = 40


def step(x, y, h, order=40):
    xs, ys = [x], [y]
    for n in range(order):
        product = sum(xs[i] * ys[n - i] for i in range(n + 1))
        xs.append((xs[n] - product) / (n + 1))
        ys.append((product - ys[n]) / (n + 1))
    x = y = mpf(0)
    for a, b in zip(reversed(xs), reversed(ys)):
        x, y = x * h + a, y * h + b
    return x, y


for steps in (2000, 3000):
    x, y = mpf(3), mpf(1)
    for _ in range(steps):
        x, y = step(x, y, mpf(20) / steps)
    print(steps, nstr(x, 22), nstr(y, 22))
