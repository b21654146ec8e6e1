"""Estimators of an LSTM's gradient, verdicts on a hand-written one, and the command line.

Everything here sees only a forward cost; nothing knows how the gradient was derived.
"""

from checks.assertion import assert_gradients as assert_gradients
from checks.autodiff import autodiff as autodiff
from checks.certified import Certified as Certified, certified as certified
from checks.compare import Comparison as Comparison, compare as compare
from checks.complex_step import complex_step as complex_step
from checks.cross_validation import cross_validate as cross_validate
from checks.diagnosis import Diagnosis as Diagnosis, diagnose as diagnose
from checks.directional import Directional as Directional, directional_checks as directional_checks
from checks.estimate import Estimate as Estimate, Status as Status
from checks.exhaustive import exhaustive as exhaustive
from checks.exhaustive.guarantee import Guarantee as Guarantee, sample_guarantee as sample_guarantee
from checks.full_sequence import full_sequence as full_sequence
from checks.function_check import check_function as check_function
from checks.per_timestep import READINGS as READINGS, per_timestep as per_timestep, untied_terms as untied_terms
from checks.problem import Cost as Cost, Problem as Problem
from checks.report import Report as Report, Row as Row
from checks.tolerance import rounding_tolerance as rounding_tolerance
from checks.verdict import Verdict as Verdict
