"""Every study, in the order in which they are listed and run."""

from runner.study import (
    capacity,
    claims,
    ensembles,
    generalization,
    generated,
    networks,
    optimization,
    ordering,
    theory,
)

STUDIES = (
    *(*theory.STUDIES, *claims.STUDIES),
    *(*ordering.STUDIES, *optimization.STUDIES, *generalization.STUDIES, *ensembles.STUDIES, *capacity.STUDIES),
    *(*networks.STUDIES, *generated.STUDIES),
)
