"""The optimiser of all training."""

from inspect import unwrap

import torch


class SGD(torch.optim.SGD):
    """`torch.optim.SGD`, bit for bit, without what is wrapped around its methods for `torch.compile`.

    The first call of a wrapped method imports the compiler: more modules than all else that a short job loads.
    """

    add_param_group = unwrap(torch.optim.SGD.add_param_group)
    load_state_dict = unwrap(torch.optim.SGD.load_state_dict)
    state_dict = unwrap(torch.optim.SGD.state_dict)
    step = torch.no_grad()(unwrap(torch.optim.SGD.step))
    zero_grad = unwrap(torch.optim.SGD.zero_grad)
