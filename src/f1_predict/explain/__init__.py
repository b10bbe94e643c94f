"""What in the picture and the table moved one driver's forecast. Explains the network; forecasts nothing itself."""

from f1_predict.explain.explanation import Explanation, explain, heated
from f1_predict.explain.occlusion import DriverPicture, picture_of
from f1_predict.explain.question import CarQuestion, FieldQuestion, Question, target_of, targets_of

__all__ = [
    "CarQuestion",
    "DriverPicture",
    "Explanation",
    "FieldQuestion",
    "Question",
    "explain",
    "heated",
    "picture_of",
    "target_of",
    "targets_of",
]
