"""The operators that a graph may use: they compute, and what they make is as large as their shapes say."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


HIGHEST_OPSET = {"": 26, "ai.onnx": 26, "ai.onnx.ml": 5}
"""Domain → highest version that is read."""

LOWEST_IR, HIGHEST_IR = 3, 13

LOOPS = frozenset({"If", "Loop", "Scan", "SequenceMap"})
"""They hold graphs of their own and may run for ever."""

SAME = _words(
    """Abs Acos Acosh Asin Asinh Atan Atanh BatchNormalization BitwiseNot Cast CastLike Ceil Celu Clip
    Cos Cosh CumSum Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish Hardmax Identity
    InstanceNormalization GroupNormalization IsInf IsNaN LayerNormalization LeakyRelu Log LogSoftmax
    LpNormalization MeanVarianceNormalization Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid
    Sign Sin Sinh Softmax Softplus Softsign Sqrt StringNormalizer RegexFullMatch Tan Tanh ThresholdedRelu
    Trilu LRN QuantizeLinear DequantizeLinear RMSNormalization Swish
    Binarizer CategoryMapper Imputer LabelEncoder Normalizer Scaler"""
)
"""The first output has the shape of the first input."""

BROADCAST = _words(
    """Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less
    LessOrEqual Max Mean Min Mod Mul Or PRelu Pow StringConcat Sub Sum Where Xor"""
)

REDUCE = _words(
    """ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare ArgMax ArgMin Compress Slice Unique NonZero GlobalAveragePool
    GlobalMaxPool GlobalLpPool ReverseSequence ScatterElements ScatterND Split"""
)
"""Every output has at most the elements of the first input (`NonZero`: times its rank)."""

MOVE = _words("Flatten Reshape Squeeze Transpose Unsqueeze DepthToSpace SpaceToDepth")
"""The elements of the first input in another shape."""

SIZED = _words(
    """Concat Constant ConstantOfShape Conv Einsum Expand EyeLike Gather GatherElements GatherND Gemm
    AveragePool MaxPool LpPool MatMul MatMulInteger OneHot Pad Range Resize Shape Size Tile TopK TfIdfVectorizer
    ArrayFeatureExtractor FeatureVectorizer LinearClassifier LinearRegressor OneHotEncoder
    SVMClassifier SVMRegressor TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor
    ZipMap"""
)
"""Each has a rule of its own in `audits/extents.py`."""

ML = _words(
    """ArrayFeatureExtractor Binarizer CategoryMapper FeatureVectorizer Imputer LabelEncoder
    LinearClassifier LinearRegressor Normalizer OneHotEncoder SVMClassifier SVMRegressor Scaler
    TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor ZipMap"""
)
"""Those of the domain `ai.onnx.ml`."""

STANDARD = (SAME | BROADCAST | REDUCE | MOVE | SIZED) - ML


def is_listed(domain: str, operator: str) -> bool:
    """Return whether a graph may use the operator."""
    return operator in (ML if domain == "ai.onnx.ml" else STANDARD)
