"""Files are written whole, after they were judged; a wrong export is not written."""

import pytest

from export import runtimes
from export.check import SAME, check_file
from export.write import write_files
from parity.errors import UserError
from tests.export.changed import drop, nodes
from tests.export.exported import model_of, needs
from tests.helpers import one_line


@pytest.mark.slow
def test_files_are_written_whole_and_are_the_network(tmp_path, params, digits):
    folder = tmp_path / "new" / "folder"
    (file,) = write_files(["numpy"], params, folder, digits.images[:2])
    assert [path.name for path in folder.iterdir()] == ["lenet-numpy.onnx"]
    assert check_file(file.path, params, digits.images[:2]).summary == SAME
    assert set(file.verdict.ran) == set(runtimes.RUNTIMES)
    assert file.added.total() == 0
    assert file.operators == {"Conv": 2, "Relu": 4, "MaxPool": 2, "Flatten": 1, "Gemm": 3}


@pytest.mark.slow
def test_what_is_no_layers_is_counted(tmp_path, params, digits):
    needs("tf/reference")
    (file,) = write_files(["tf"], params, tmp_path, digits.images[:2])
    assert file.operators.total() - file.added.total() == 12 + 3  # the layers; three biases added apart
    assert file.added == {"Transpose": 1, "Reshape": 1}


def test_wrong_export_is_not_written(tmp_path, params, digits, monkeypatch):
    wrong = model_of("numpy")  # exported before the exporter is replaced
    drop(wrong, nodes(wrong, "Relu")[0])
    monkeypatch.setattr("export.from_numpy.export", lambda params, opset: wrong)
    with pytest.raises(UserError) as refusal:
        write_files(["numpy"], params, tmp_path, digits.images[:2])
    assert "lenet-numpy.onnx: not written, as it is another graph, at relu1" in one_line(refusal)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written_is_refused_before_any_work(params, digits, tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    begun: list[str] = []
    with pytest.raises(UserError) as refusal:
        write_files(["numpy"], params, blocked, digits.images[:2], begun.append)
    assert "file: cannot be written (File exists); choose another folder" in one_line(refusal)
    assert begun == []


@pytest.mark.parametrize("ending", [KeyboardInterrupt, UserError])
def test_a_folder_that_was_made_goes_again_if_nothing_is_written(ending, params, digits, tmp_path):
    def ended(exporter):
        raise ending("numpy")

    (tmp_path / "kept").mkdir()
    for folder in (tmp_path / "new" / "folder", tmp_path / "kept"):
        with pytest.raises(ending):
            write_files(["numpy"], params, folder, digits.images[:2], ended)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_folder_that_another_has_written_to_stays(params, digits, tmp_path):
    folder = tmp_path / "new"

    def ended(exporter):
        (folder / "theirs").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_files(["numpy"], params, folder, digits.images[:2], ended)
    assert [path.name for path in folder.iterdir()] == ["theirs"]
