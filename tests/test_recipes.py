import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from ferkit import FERClassifier
from ferkit.recipes import RECIPES, make_classifier


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_an_ordinary_classifier(recipe, faces):
    model = make_classifier(recipe, backbone="cnn_small", max_epochs=2, random_state=0)
    assert type(model) is FERClassifier
    assert model.get_params() == clone(model).get_params()
    search = GridSearchCV(model, {"max_epochs": [1]}, cv=2).fit(faces.data[:140], faces.target[:140])
    assert search.best_estimator_.max_epochs == 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_given_parameters_override_a_recipe(recipe):
    defaults = FERClassifier().get_params()
    changed = {name: value for name, value in make_classifier(recipe).get_params().items() if value != defaults[name]}
    assert changed == {name: value for name, value in RECIPES[recipe].items() if value != defaults[name]}
    given = {"mixup": 0.5, "lr": 0.5}
    assert make_classifier(recipe, **given).get_params() == {**defaults, **RECIPES[recipe], **given}


def test_an_unknown_recipe_names_the_others():
    with pytest.raises(ValueError, match="among fast, balanced, best, got 'quick'"):
        make_classifier("quick")
