"""What sets a configuration apart, on configurations."""

from autosearch.visualization.unusual import unusual_parameters


def test_a_rare_choice_and_the_ends_of_a_range_are_unusual() -> None:
    configs = {
        n: {"training/learning_rate": 0.001 * (n + 1), "block": "odd" if n == 5 else "plain"}
        for n in range(40)
    }
    found = unusual_parameters(configs)
    assert found[5] == "block odd (1 of 40 trials)"
    assert found[0] == "learning rate 0.001 (lowest of 40)"
    assert found[38] == "learning rate 0.039 (high)"
    assert 20 not in found


def test_at_most_three_are_named_the_rarest_first() -> None:
    same = {f"p{i}": "a" for i in range(5)}
    configs = {n: dict(same) for n in range(20)}
    configs[7] = {f"p{i}": "b" for i in range(5)}
    configs[8] = dict(same) | {"p0": "b"}
    words = unusual_parameters(configs)[7].split(", ")
    assert len(words) == 3
    assert words[0].startswith("p1 b (1 of 20")


def test_few_trials_tell_nothing_and_what_is_no_number_does_no_harm() -> None:
    assert unusual_parameters({n: {"a": n} for n in range(7)}) == {}
    odd = [None, True, float("nan"), [1], "x", 1, 2.5, {}, 3, 4, 5, 6]
    assert unusual_parameters(dict(enumerate({"a": value} for value in odd)))
