"""XGBoost without scikit-learn, which it would import for wrappers that nobody uses here: 65 MiB of every worker."""

import sys
from typing import Any

_absent = "sklearn" not in sys.modules
if _absent:
    sys.modules["sklearn"] = None  # type: ignore[assignment]
try:
    import xgboost as _xgboost
finally:
    if _absent:
        del sys.modules["sklearn"]

xgboost: Any = _xgboost
