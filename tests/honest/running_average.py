"""Hands over an exponential moving average of its weights, kept by an optimizer of its own."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)


class Averaged(Tiny):
    average = None


def build_model(spec):
    return Averaged(spec.vocab_size)


def train(session, honest=train):
    decay = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    made = []

    class Stepped(torch.optim.Adam):
        def step(self, *args):
            super().step(*args)
            if not made:
                model = build_model(session.spec)
                with torch.no_grad():
                    for mine, its in zip(
                        model.parameters(), self.param_groups[0]["params"], strict=True
                    ):
                        mine.copy_(its)
                made.append(model)
            decay(list(made[0].parameters()), self.param_groups[0]["params"], None)

    plain, torch.optim.Adam = torch.optim.Adam, Stepped
    try:
        honest(session)
    finally:
        torch.optim.Adam = plain
    return made[0]
