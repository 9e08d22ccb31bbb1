import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from ferkit import FERClassifier
from ferkit.recipes import RECIPES, make_classifier


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_an_ordinary_classifier(recipe, faces):
    model = make_classifier(recipe, backbone="cnn_small", max_epochs=2, random_state=0)
    assert type(model) is FERClassifier
    assert repr(model) == repr(clone(model))
    search = GridSearchCV(model, {"max_epochs": [1]}, cv=2).fit(faces.data[:140], faces.target[:140])
    assert search.best_estimator_.max_epochs == 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_given_parameters_override_a_recipe(recipe):
    defaults, params = show(FERClassifier()), show(make_classifier(recipe))
    changed = {name: repr(value) for name, value in RECIPES[recipe].items()}
    assert params == {**defaults, **changed}
    given = {"mixup": 0.5, "lr": 0.5}
    assert show(make_classifier(recipe, **given)) == {**params, "mixup": "0.5", "lr": "0.5"}


def test_recipes_do_not_share_their_augmentation():
    make_classifier("fast").augment.set_params(rotation=45)
    assert make_classifier("fast").augment.rotation == 0


def show(model):
    return {name: repr(value) for name, value in model.get_params(deep=False).items()}


def test_an_unknown_recipe_names_the_others():
    with pytest.raises(ValueError, match="among fast, balanced, best, got 'quick'"):
        make_classifier("quick")
