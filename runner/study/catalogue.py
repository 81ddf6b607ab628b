"""Every study, in the order in which they are listed and run."""

from runner.study import ensembles, generalization, generated, optimization, ordering, theory

STUDIES = (
    *theory.STUDIES,
    *ordering.STUDIES,
    *optimization.STUDIES,
    *generalization.STUDIES,
    *ensembles.STUDIES,
    *generated.STUDIES,
)
