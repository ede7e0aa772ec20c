"""Train a Keras classifier on real data; one line has it recorded.

Run: python examples/keras_fit.py
The data are scikit-learn's digits: 1797 images of 8×8 pixels, which ship inside of the package.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # or jax, or tensorflow: whichever is installed

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import trackhooks

trackhooks.enable("csv", "tensorboard", project="digits")  # the line

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(images / 16, labels, test_size=0.2, random_state=0)

model = keras.Sequential(
    [
        keras.Input((64,)),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, batch_size=64, epochs=10, validation_split=0.2, verbose=2)

loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"accuracy on the test data: {accuracy:.3f}")
model.save("digits.keras")
