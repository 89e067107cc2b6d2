"""`python -m parity.operators` prints the table of operators in docs/parity.md."""

from parity.operators import OPERATORS

FAMILIES = {
    "affine": "sums of products",
    "einsum": "Einstein summation",
    "pooling": "pooling",
    "global_pooling": "pooling of whole maps",
    "normalization": "normalization",
    "activation": "activations",
    "softmax": "rows that add up to 1",
    "elementwise": "arithmetic, comparisons, functions",
    "dropout": "dropout",
    "reduction": "reductions",
    "shape": "shapes",
    "select": "selections",
    "create": "constants",
    "cast": "casts",
    "resize": "resizing",
    "grid_sample": "sampling by a grid",
    "recurrent": "recurrent layers",
    "attention": "attention",
    "quantization": "quantization",
}


def table() -> str:
    """One row for each family, in Markdown."""
    rows: dict[str, list[str]] = {family: [] for family in FAMILIES}
    for name, operator in OPERATORS.items():
        rows[operator.__module__.rpartition(".")[2]].append(name)
    lines = [
        f"| [{what}](../parity/operators/{family}.py) | {', '.join(sorted(rows[family]))} |"
        for family, what in FAMILIES.items()
    ]
    return "\n".join(["| family | operators |", "|---|---|", *lines])


if __name__ == "__main__":
    print(table())
