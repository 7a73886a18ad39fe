import numpy as np
import pytest
import tensorflow as tf

from autosearch.evaluation.losses import LossTerms, make_loss

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]], dtype=np.float32)
LABELS = np.eye(3, dtype=np.float32)[[0, 2]]
WEIGHTS = np.array([0.5, 1.0, 4.0])


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def loss(terms, logits=LOGITS, labels=LABELS, smoothing=0.0):
    made = make_loss(terms, label_smoothing=smoothing, one_hot=True)
    return float(made(labels, tf.nn.softmax(logits)))


def smoothed(labels, smoothing):
    return labels * (1 - smoothing) + smoothing / labels.shape[1]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_each_term_is_that_of_its_paper(smoothing):
    logs = log_softmax(LOGITS)
    targets = smoothed(LABELS, smoothing)
    plain = -(targets * logs).sum(axis=1)
    assert loss(LossTerms(), smoothing=smoothing) == pytest.approx(plain.mean(), rel=1e-5)

    weighted = loss(LossTerms(class_weights=WEIGHTS), smoothing=smoothing)
    assert weighted == pytest.approx((plain * WEIGHTS[[0, 2]]).mean(), rel=1e-5)

    focal = -(targets * (1 - np.exp(logs)) ** 2 * logs).sum(axis=1)
    found = loss(LossTerms(focal_gamma=2.0), smoothing=smoothing)
    assert found == pytest.approx(focal.mean(), rel=1e-4)

    offsets = np.log([0.7, 0.2, 0.1])
    adjusted = -(targets * log_softmax(LOGITS + offsets)).sum(axis=1)
    found = loss(LossTerms(logit_offsets=offsets), smoothing=smoothing)
    assert found == pytest.approx(adjusted.mean(), rel=1e-5)


def test_a_mixed_label_has_the_mean_weight_of_its_classes():
    mixed = np.array([[0.25, 0.0, 0.75]], dtype=np.float32)
    plain = loss(LossTerms(), LOGITS[:1], mixed)
    weighted = loss(LossTerms(class_weights=WEIGHTS), LOGITS[:1], mixed)
    assert weighted == pytest.approx(plain * (0.25 * 0.5 + 0.75 * 4.0), rel=1e-5)


def test_logit_adjustment_has_a_gradient_where_the_network_is_sure_and_wrong():
    logits = tf.Variable([[40.0, 0.0]])
    made = make_loss(LossTerms(logit_offsets=np.log([0.9, 0.1])), label_smoothing=0.0, one_hot=True)
    with tf.GradientTape() as tape:
        value = made(np.array([[0.0, 1.0]]), tf.nn.softmax(logits))
    assert tape.gradient(value, logits).numpy()[0] == pytest.approx([1.0, -1.0], abs=1e-3)


def test_what_does_not_combine_is_refused():
    with pytest.raises(ValueError, match="expected one-hot"):
        make_loss(LossTerms(focal_gamma=1.0), label_smoothing=0.0, one_hot=False)
    terms = LossTerms(focal_gamma=1.0, class_weights=WEIGHTS)
    with pytest.raises(ValueError, match="at most one"):
        make_loss(terms, label_smoothing=0.0, one_hot=True)
