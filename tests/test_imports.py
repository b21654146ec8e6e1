"""Who may import whom, and which names may not be written at all: enforced on the parsed sources.

Each rule is a function from a module's name and its syntax tree to what breaks the rule, and each is shown to break.
"""

from __future__ import annotations

import ast
import graphlib
import pathlib
import subprocess
import sys

import pytest

import checks
import lstm

# A module imports only from floors below its own
FLOORS = (
    {"validation"},
    {"precision", "activations", "losses", "loops"},
    {"parameters"},
    {"levels", "cell", "arguments", "layouts"},
    {"sequence"},
    {"stack"},
    {"network"},
    {"layer_arguments", "remat", "cores"},
    {"api", "gradients"},
)
FLOOR_OF = {module: number for number, floor in enumerate(FLOORS) for module in floor}
OF_LAYOUTS = {"parameters", "validation"}
# What checks may import: how parameters are arranged, and the activations by name; nothing that knows how they are used
PUBLIC = {"lstm", "lstm.layouts", "lstm.layouts.places", "lstm.levels", "lstm.parameters", "lstm.activations"}
ESTIMATORS = {"full_sequence", "per_timestep", "autodiff", "complex_step"}
BENEATH_ESTIMATORS = {"problem", "estimate", "perturbation", "arguments"}
DIFFERENTIATORS = {"grad", "value_and_grad", "vjp", "jvp", "linearize", "linear_transpose", "custom_jvp", "custom_gradient"}
DIFFERENTIATORS |= {"jacobian", "jacrev", "jacfwd", "hessian", "defjvp", "defjvps"}
RUNTIME = {"jax", "ml_dtypes", "numpy", "lstm", "checks", *sys.stdlib_module_names}  # ml_dtypes comes with jaxlib


def sources() -> dict[str, ast.Module]:
    """Every module of the two packages: dotted name -> syntax tree."""
    found = {}
    for imported in (lstm, checks):
        root = pathlib.Path(imported.__file__).parent
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root.parent).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imports(tree: ast.AST, *, anywhere: bool = True) -> set[str]:
    """Dotted names of the modules imported; ``from lstm import cell`` counts as lstm.cell. ``anywhere``: in functions too."""
    found = set()
    nodes = ast.walk(tree) if anywhere else at_import_time(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & ALL.keys()
            names_too = any(f"{node.module}.{alias.name}" not in ALL for alias in node.names)
            found |= submodules | ({node.module} if names_too else set())
    return found


def at_import_time(tree: ast.AST):
    """Nodes outside functions."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield node
            yield from at_import_time(node)


ALL = sources()


def package(module: str) -> str:
    return module.split(".")[0]


def room(module: str) -> str:
    """lstm.layouts.naming -> layouts."""
    return module.split(".")[1]


def only_lower_floors(module: str, tree: ast.Module) -> set[str]:
    if not module.startswith("lstm."):
        return set()
    if room(module) not in FLOOR_OF:
        return {f"{room(module)} stands on no floor: give it one"}
    ours = {name for name in imports(tree) if package(name) == "lstm"}
    wrong = {name for name in ours if name == "lstm" or (room(name) != room(module) and FLOOR_OF[room(name)] >= FLOOR_OF[room(module)])}
    if room(module) == "layouts":
        wrong |= {name for name in ours - {"lstm"} if room(name) not in OF_LAYOUTS | {"layouts"}}
    return wrong


def lstm_never_imports_checks(module: str, tree: ast.Module) -> set[str]:
    return {name for name in imports(tree) if package(name) == "checks"} if package(module) == "lstm" else set()


def checks_import_public_names_only(module: str, tree: ast.Module) -> set[str]:
    if package(module) != "checks":
        return set()
    return {name for name in imports(tree) if package(name) == "lstm" and name not in PUBLIC}


def estimators_are_strangers(module: str, tree: ast.Module) -> set[str]:
    """They stand on the problem, never on one another, and never look at the gradient under test."""
    if module not in {f"checks.{name}" for name in ESTIMATORS}:
        return set()
    found = {name for name in imports(tree) if name.startswith("checks") and name not in {f"checks.{n}" for n in BENEATH_ESTIMATORS}}
    return found | ({"gradients"} & names(tree))


def no_automatic_differentiation(module: str, tree: ast.Module) -> set[str]:
    banned = DIFFERENTIATORS | (set() if module == "lstm.api" else {"custom_vjp"})
    return banned & names(tree) if package(module) == "lstm" else set()


def no_global_jax_settings(module: str, tree: ast.Module) -> set[str]:
    """Nothing is set on jax.config, nor in the environment that JAX reads. Reading, and `with jax.enable_x64`, are fine."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node).endswith(("config.update", "config.parse_flags_with_absl")):
            found.add(ast.unparse(node))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and "config" in ast.unparse(node.value).split("."):
            found.add(ast.unparse(node))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.putenv"):
            found.add(ast.unparse(node))
        if isinstance(node, ast.Name) and node.id in ("environ", "putenv"):
            found.add(node.id)
    return found


def only_runtime_dependencies(module: str, tree: ast.Module) -> set[str]:
    extras = {"checks.certified.": "flint", "checks.pictures.png": "matplotlib"}  # imported when called
    allowed = RUNTIME | {extra for beginning, extra in extras.items() if module.startswith(beginning)}
    at_import = {name for name in imports(tree, anywhere=False) if package(name) not in RUNTIME}
    return at_import | {name for name in imports(tree) if package(name) not in allowed}


def names(tree: ast.AST) -> set[str]:
    """Every identifier written: variables, attributes, what is imported and under which name."""
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {part for alias in node.names for part in (*alias.name.split("."), alias.asname) if part}
    return found


RULES = (
    only_lower_floors,
    lstm_never_imports_checks,
    checks_import_public_names_only,
    estimators_are_strangers,
    no_automatic_differentiation,
    no_global_jax_settings,
    only_runtime_dependencies,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_sources_keep_the_rule(rule):
    broken = {module: wrong for module, tree in ALL.items() if (wrong := rule(module, tree))}
    assert not broken


@pytest.mark.parametrize(
    ("rule", "module", "source", "wrong"),
    [
        (only_lower_floors, "lstm.cell", "from lstm.sequence import forward", {"lstm.sequence"}),
        (only_lower_floors, "lstm.cell", "from lstm import losses, stack", {"lstm.stack"}),
        (only_lower_floors, "lstm.cell", "def f():\n    import lstm.network", {"lstm.network"}),
        (only_lower_floors, "lstm.losses", "from lstm.precision import matmul", {"lstm.precision"}),
        (only_lower_floors, "lstm.cell", "from lstm import Layer", {"lstm"}),
        (only_lower_floors, "lstm.newcomer", "import jax", {"newcomer stands on no floor: give it one"}),
        (only_lower_floors, "lstm.layouts.naming", "from lstm.precision import matmul", {"lstm.precision"}),
        (lstm_never_imports_checks, "lstm.layouts.naming", "import checks.problem", {"checks.problem"}),
        (checks_import_public_names_only, "checks.tolerance", "from lstm.cell import backward", {"lstm.cell"}),
        (checks_import_public_names_only, "checks.tolerance", "from lstm import cell", {"lstm.cell"}),
        (estimators_are_strangers, "checks.autodiff", "from checks.complex_step import STEP", {"checks.complex_step"}),
        (estimators_are_strangers, "checks.autodiff", "from checks import compare, Problem", {"checks.compare", "checks"}),
        (estimators_are_strangers, "checks.autodiff", "value = problem.gradients(p)", {"gradients"}),
        (no_automatic_differentiation, "lstm.cell", "import jax\njax.grad(f)", {"grad"}),
        (no_automatic_differentiation, "lstm.cell", "from jax import vjp as backward", {"vjp"}),
        (no_automatic_differentiation, "lstm.cell", "@jax.custom_vjp\ndef f(): pass", {"custom_vjp"}),
        (no_global_jax_settings, "lstm.api", "jax.config.update('jax_enable_x64', True)", {"jax.config.update"}),
        (no_global_jax_settings, "checks.cli", "from jax import config\nconfig.jax_enable_x64 = True", {"config.jax_enable_x64"}),
        (no_global_jax_settings, "checks.cli", "os.environ['JAX_ENABLE_X64'] = '1'", {"os.environ"}),
        (only_runtime_dependencies, "checks.files.npz_file", "def f():\n    import torch.nn", {"torch.nn"}),
        (only_runtime_dependencies, "checks.certified.balls", "import flint", {"flint"}),
    ],
)
def test_a_planted_violation_is_seen(rule, module, source, wrong):
    assert rule(module, ast.parse(source)) == wrong


@pytest.mark.parametrize(
    ("rule", "module", "source"),
    [
        (only_lower_floors, "lstm.cell", "from lstm.parameters import Layer"),
        (only_lower_floors, "lstm.layouts.naming", "from lstm.layouts.pieces import Piece"),
        (checks_import_public_names_only, "checks.tolerance", "import lstm\nfrom lstm import Layer\nfrom lstm.layouts import Layout"),
        (no_automatic_differentiation, "lstm.api", "@jax.custom_vjp\ndef f(): pass"),
        (no_global_jax_settings, "lstm.precision", "if jax.config.jax_enable_x64:\n    with jax.enable_x64(True): pass"),
    ],
)
def test_what_is_allowed_is_not_refused(rule, module, source):
    assert rule(module, ast.parse(source)) == set()


@pytest.mark.parametrize("which", ["lstm", "checks"])
def test_no_module_imports_itself_through_others(which):
    """At import time; a function may import later what stands above it."""
    graph = {name: imports(tree, anywhere=False) & ALL.keys() - {name} for name, tree in ALL.items() if name.startswith(f"{which}.")}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle
    assert any(graph.values())
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(graph | {"lstm.a": {"lstm.b"}, "lstm.b": {"lstm.a"}}).prepare()


def test_importing_changes_no_setting_of_jax():
    """In a process of its own, where nothing else has been imported yet."""
    program = "import jax; before = dict(jax.config.values); import lstm.layouts, checks.cli; assert dict(jax.config.values) == before"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
