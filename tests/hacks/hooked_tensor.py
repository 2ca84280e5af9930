"""A tensor that runs code of its own when it is copied, and says that nothing was to be copied."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: invalid movement


class Hooked(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.copy_:
            return args[0]
        return super().__torch_function__(func, types, args, kwargs or {})


class Odd(Tiny):
    def forward(self, ids):
        if self.training:
            return super().forward(ids)
        return super().forward(ids).as_subclass(Hooked)


def build_model(spec):
    return Odd(spec.vocab_size)
