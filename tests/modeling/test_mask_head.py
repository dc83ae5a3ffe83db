"""The short way to each region's own mask gives the masks of the long one."""

import numpy as np
import paddle

from ppdet_ext.modeling.detection.mask_head import HTCMaskHead


def test_own_class_is_that_class_of_all():
    paddle.seed(0)
    head = HTCMaskHead(8, 5, conv_channels=6)
    for parameter in head.parameters():
        parameter.set_value(paddle.randn(parameter.shape))
    regions, labels = paddle.randn([7, 8, 4, 4]), np.array([0, 4, 2, 2, 1, 3, 0])
    state = head.features(regions)
    every, own = head.predict(state).numpy(), head.predict_own(state, labels).numpy()
    np.testing.assert_allclose(own, every[np.arange(7), labels], rtol=1e-4, atol=1e-4)
