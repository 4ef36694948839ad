"""What is loaded, and when: a process that asks no model pays for none."""

import subprocess
import sys

LIGHT = """
import sys
import app.ml.corpus, app.ml.features, app.ml.rules, app.domain.taxonomy
print(sorted({"numpy", "scipy", "sklearn", "xgboost"} & set(sys.modules)))
"""


def test_labels_and_rules_load_no_numeric_library() -> None:
    said = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
