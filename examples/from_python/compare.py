"""Which optimizer, from Python: a sweep, its answer, and how its curves end."""

import optbench

sweep = optbench.sweep("name=python", "optim=sgd,adamw", "optim.lr=0.001,0.01,0.1", "seeds=3", "epochs=5")
report = sweep.report()
print(report)

best = report.answers[0]
print(best["command"])
curves = sweep.curves
print(curves.groupby(["optim", "optim.lr", "step"])["val_accuracy"].mean().unstack("step").iloc[:, -1])
