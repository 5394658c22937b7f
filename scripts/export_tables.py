#!/usr/bin/env python3
"""Writes the tables of the benchmark problems C6 to C9 as .npy files, from scikit-learn. They are in the repository:
nobody needs this script but to see where they come from.

usage: export_tables.py [FOLDER]      (default examples/data)
"""
import pathlib
import sys

import numpy
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import train_test_split

folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1] / "examples" / "data")


def write(name, numbers, dtype):
    """The numbers exactly, in a narrower type where they fit."""
    kept = numpy.ascontiguousarray(numbers, dtype=dtype)
    if not (kept == numbers).all():
        sys.exit(f"{name}: not all numbers are {dtype}")
    numpy.save(folder / name, kept, allow_pickle=False)
    print(f"{folder / name}  {kept.dtype.str} {kept.shape}")


folder.mkdir(parents=True, exist_ok=True)
data, target = load_diabetes(return_X_y=True)
train, test = train_test_split(numpy.arange(len(target)), test_size=0.33, random_state=0)
write("diabetes_data.npy", data, "<f8")
write("diabetes_target.npy", target, "<f8")
write("diabetes_split.npy", numpy.concatenate([train, test]), "<i4")
data, target = load_breast_cancer(return_X_y=True)
write("breast_cancer_data.npy", data, "<f8")
write("breast_cancer_target.npy", target, "|u1")
data, target = load_digits(return_X_y=True)
write("digits_data.npy", data, "|u1")
write("digits_target.npy", target, "|u1")
