"""What is loaded, and when: a process that asks no model pays for none."""

import subprocess
import sys
import time

from app.ml.corpus import bootstrap
from app.ml.features import Example
from app.ml.training import train

LIGHT = """
import sys
import app.ml.corpus, app.ml.features, app.ml.rules, app.domain.taxonomy
print(sorted({"numpy", "scipy", "sklearn", "xgboost"} & set(sys.modules)))
"""


def test_labels_and_rules_load_no_numeric_library() -> None:
    said = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_one_prediction_takes_two_milliseconds_at_most() -> None:
    model = train(bootstrap())
    asked = [Example(title=f"OpenAI answers 5xx to {n} requests", description="timeouts " * 30) for n in range(200)]
    took = []
    for one in asked:
        start = time.thread_time()
        model.predict([one])
        took.append(time.thread_time() - start)
    assert sorted(took)[190] < 0.002
