"""The originals: what the frameworks of 2015 to 2022 computed with this project's weights, recorded.

The ports `lenet_theano`, `lenet_caffe` and `lenet_tf1` run on the successors of their frameworks. Here is
what the originals returned, and a script per framework that records it again (`python -m museum.record`).

    recordings/          an npz per recording, and beside it a JSON file that says where it comes from
    recorded.py          reads a recording, and refuses one that was changed
    replay.py            judges a recording as a port is judged
    caffe_training.py    judges six training steps of Caffe, and reads the weights that Caffe trained
    museum_tables.py     the tables of `lenet museum` and of docs/museum.md
    record.py            runs a script of originals/ in another Python
    originals/           the scripts
"""
