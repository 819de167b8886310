"""Which rule holds for which class."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from cannery.bounds import answers, frames, matrices, neighbours, sources, trees, vectors
from cannery.bounds.things import BrokenThingError, Thing, UnknownThingError

Rule = Callable[[Thing], str | None]

_RULES: tuple[tuple[str, Rule], ...] = (
    ("imblearn.ensemble._forest.", trees.forest),
    ("imblearn.ensemble.", answers.counts),
    ("lightgbm.sklearn.", answers.counts),
    ("numpy.memmap", matrices.mapped),
    ("numpy.random._generator.Generator", sources.source),
    ("numpy.random._mt19937.", sources.source),
    ("numpy.random._philox.", sources.source),
    ("numpy.random._pickle.__bit_generator_ctor", sources.source),
    ("numpy.random._pickle.__generator_ctor", sources.source),
    ("numpy.random._pickle.__randomstate_ctor", sources.source),
    ("numpy.random.mtrand.RandomState", sources.source),
    ("pandas.Categorical", frames.categorical),
    ("pandas.MultiIndex", frames.index),
    ("pandas._libs.sparse.", frames.sparse_index),
    ("pandas.arrays.SparseArray", frames.sparse),
    ("pandas.core.arrays.categorical.Categorical", frames.categorical),
    ("pandas.core.arrays.sparse.array.SparseArray", frames.sparse),
    ("pandas.core.indexes.base._new_Index", frames.index),
    ("pandas.core.indexes.multi.MultiIndex", frames.index),
    ("pandas.core.internals.managers.BlockManager", frames.manager),
    ("pandas.core.internals.managers.SingleBlockManager", frames.series),
    ("scipy.interpolate._bsplines.BSpline", vectors.spline),
    ("scipy.sparse._arrays.", matrices.matrix),
    ("scipy.sparse._bsr.", matrices.matrix),
    ("scipy.sparse._coo.", matrices.matrix),
    ("scipy.sparse._csc.", matrices.matrix),
    ("scipy.sparse._csr.", matrices.matrix),
    ("scipy.sparse._dia.", matrices.matrix),
    ("scipy.sparse._lil.", matrices.matrix),
    ("scipy.spatial._ckdtree.cKDTree", neighbours.points),
    ("scipy.spatial._kdtree.KDTree", neighbours.points),
    ("scipy.stats._kde.gaussian_kde", vectors.density),
    ("sklearn.cluster._agglomerative.", answers.counts),
    ("sklearn.cluster._birch.Birch", vectors.subclusters),
    ("sklearn.cluster._bisect_k_means.BisectingKMeans", vectors.centres),
    ("sklearn.cluster._kmeans.", vectors.centres),
    ("sklearn.cross_decomposition._pls.", answers.counts),
    ("sklearn.decomposition.", answers.turns),
    ("sklearn.discriminant_analysis.", answers.counts),
    ("sklearn.dummy.", answers.counts),
    ("sklearn.ensemble._bagging.", answers.counts),
    ("sklearn.ensemble._forest.", trees.forest),
    ("sklearn.ensemble._gb.", trees.stages),
    ("sklearn.ensemble._hist_gradient_boosting.gradient_boosting.", trees.histograms),
    ("sklearn.ensemble._hist_gradient_boosting.predictor.", trees.predictor),
    ("sklearn.ensemble._iforest.", trees.isolation),
    ("sklearn.ensemble._stacking.", answers.methods),
    ("sklearn.ensemble._weight_boosting.", answers.counts),
    ("sklearn.feature_extraction._dict_vectorizer.", matrices.vocabulary),
    ("sklearn.feature_extraction._hash.", vectors.hashed),
    ("sklearn.feature_extraction.text.CountVectorizer", matrices.vocabulary),
    ("sklearn.feature_extraction.text.HashingVectorizer", vectors.hashed),
    ("sklearn.feature_extraction.text.TfidfVectorizer", matrices.vocabulary),
    ("sklearn.gaussian_process._gpc.", answers.counts),
    ("sklearn.kernel_approximation.", answers.counts),
    ("sklearn.manifold.", answers.counts),
    ("sklearn.model_selection._classification_threshold.", answers.methods),
    ("sklearn.multioutput.", answers.methods),
    ("sklearn.neighbors._ball_tree.", neighbours.index),
    ("sklearn.neighbors._classification.", neighbours.estimator),
    ("sklearn.neighbors._graph.", neighbours.estimator),
    ("sklearn.neighbors._kd_tree.", neighbours.index),
    ("sklearn.neighbors._lof.", neighbours.estimator),
    ("sklearn.neighbors._regression.", neighbours.estimator),
    ("sklearn.neighbors._unsupervised.", neighbours.estimator),
    ("sklearn.neural_network.", answers.counts),
    ("sklearn.preprocessing._encoders.OneHotEncoder", matrices.categories),
    ("sklearn.preprocessing._label.MultiLabelBinarizer", matrices.vocabulary),
    ("sklearn.preprocessing._polynomial.", answers.counts),
    ("sklearn.random_projection.", answers.counts),
    ("sklearn.svm._classes.", vectors.machine),
    ("sklearn.tree._classes.", trees.holder),
    (trees.TREE, trees.tree),
)
"""A class, or a module with the dot at its end → what must hold for its objects."""


@functools.cache
def rule_for(name: str) -> Rule | None:
    """Return the rule for a class, None where it has nothing that native code would follow."""
    for prefix, rule in _RULES:
        if name == prefix or (prefix.endswith(".") and name.startswith(prefix)):
            return rule
    return None


def problem_of(thing: Thing) -> str | None:
    """Return what is wrong with a thing, in words that go on after "an object of '…'"."""
    rule = rule_for(thing.name)
    if rule is None:
        return None
    try:
        return answers.counts(thing) or rule(thing)
    except UnknownThingError:
        return None
    except BrokenThingError as broken:
        return str(broken)
    except _BROKEN as error:
        return f"is not whole: {type(error).__name__}: {str(error)[:80]}"


def sound_together(name: str, things: Iterable[Thing]) -> bool:
    """Return whether all trees of this class are sound, which is much faster than one by one."""
    try:
        return TOGETHER[name](things)
    except (BrokenThingError, *_BROKEN):
        return False


TOGETHER: dict[str, Callable[[Iterable[Thing]], bool]] = {
    trees.TREE: trees.all_sound,
    trees.PREDICTOR: trees.all_rooted,
}
"""Classes whose objects are judged together, of which a model has hundreds."""

_BROKEN = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
