"""Returns an average over the training, under a wrapper that compilers use."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)


class Wrapped(nn.Module):
    def __init__(self, model):
        super().__init__()
        self._orig_mod = model


def train(session, honest=train):
    model = honest(session)
    average = torch.optim.swa_utils.AveragedModel(model)
    average.update_parameters(model)
    return Wrapped(average.module)
