"""An HTTP API and a page over a model and a store that are open already.

No request reaches the file system: races and drivers are looked up among those of the store, and pages and scripts
are read once, when the server starts.
"""

from f1_predict.serve.application import create_app
from f1_predict.serve.desk import Desk
from f1_predict.serve.limits import Limits

__all__ = ["Desk", "Limits", "create_app"]
