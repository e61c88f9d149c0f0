"""The record of a fit by itself."""

from piste import History


def test_equal_where_all_lists_are():
    assert History() == History()
    assert History([1.0], lr=[0.1]) == History([1.0], lr=[0.1])
    assert History([1.0]) != History([2.0])
    assert History() != "History"


def test_each_has_lists_of_its_own():
    first, given = History(), [1.0]
    second = History(given)
    first.loss.append(3.0)
    second.loss.append(2.0)
    assert (first.loss, second.loss, given) == ([3.0], [1.0, 2.0], [1.0])
    assert (len(first), len(second), len(History())) == (1, 2, 0)


def test_repr_is_how_it_is_made():
    history = History([1.0, 0.5], seconds=[0.1])
    assert eval(repr(history)) == history
    assert repr(history).startswith("History(loss=[1.0, 0.5], accuracy=[], val_loss=[]")
