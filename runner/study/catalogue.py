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
    quantized,
    sharpness,
    theory,
    trained_on,
)

STUDIES = (
    *(*theory.STUDIES, *claims.STUDIES),
    *(*ordering.STUDIES, *optimization.STUDIES, *generalization.STUDIES, *ensembles.STUDIES, *capacity.STUDIES),
    *(*networks.STUDIES, *generated.STUDIES, *trained_on.STUDIES, *quantized.STUDIES, *sharpness.STUDIES),
)
