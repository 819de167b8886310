"""The model that `peers.py mlserver` serves."""

from __future__ import annotations

from mlserver import MLModel, types
from peers import Model


class Churn(MLModel):
    """One model."""

    async def load(self) -> bool:
        """Open the graph."""
        self.model = Model()
        return True

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        """Return the probabilities."""
        names = [tensor.name for tensor in payload.inputs]
        columns = [tensor.data.root for tensor in payload.inputs]
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        scores = self.model.score(rows)
        output = types.ResponseOutput(
            name="churn", shape=[len(scores)], datatype="FP64", data=scores
        )
        return types.InferenceResponse(model_name=self.name, outputs=[output])
