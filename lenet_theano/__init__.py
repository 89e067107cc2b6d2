"""LeNet in Theano (Université de Montréal, since 2007): a symbolic graph, differentiated and compiled.

One writes expressions of symbols, in which nothing is computed; `grad` extends them by their own
derivatives; `function` rewrites the whole and makes a callable of it. TensorFlow took this design over,
and JAX its heart: trace, differentiate, compile. Theano's development ended in 2017; what runs here is
PyTensor, its maintained continuation: for `import pytensor.tensor as pt` read `import theano.tensor as T`.
"""
